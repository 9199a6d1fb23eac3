"""Times a keyword spotter with gates on a stream of windows, and the same backbone without gates."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gatesearch._lib.tensors import to_float
from gatesearch._lib.timing import fingerprint, interleaved
from gatesearch.errors import UserError
from gatesearch.frontends import LogMel
from gatesearch.kernels import Mel, MelStream
from gatesearch.metrics import Quality
from gatesearch.model import GatedModel
from gatesearch.pipeline import export
from gatesearch.pipeline.problem import Problem, load_problem
from gatesearch.pipeline.result import RunResult
from gatesearch.plan import GatePlan
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.stream_runner import StreamRunner
from gatesearch.runtime.stream_timing import draw_windows, time_stream
from results.kernels.spotters import SPOTTERS, finish_spotter
from results.kws import measure as kws
from results.whole_runs import share_stopped

POSITIVE, OTHER = 0.01, 0.04
OTHERS = (
    0.0,
    OTHER,
    0.11,
    0.3,
)  # shares of other words in the streams; with 0.11, the negatives are mixed as in the recipes
WINDOWS, ROUNDS = 1000, 20
FRAMES = (5, 1)  # numbers of new frames (20 ms each) in a window, for overlapping windows


def measure(name: str, data: Sequence[str], seed: int) -> dict[str, Any]:
    """Return the times of a spotter on streams of several mixes, and of its ungated program, as JSON values.

    Args:
        name: key of :data:`SPOTTERS`.
        data: overrides of the recipe, such as data.root.
        seed: seed of the run; for a spotter with the gate of another spotter, the seed of the gate's run.
    """
    chosen = SPOTTERS[name]
    run = finish_spotter(chosen, data, 0 if chosen.gate_of else seed)
    summary = run.folder.read_json("summary.json")
    path, best = run.folder / "best" / "bundle", summary["best"]
    if chosen.gate_of is not None:
        path, best = _export_behind_gate(run, finish_spotter(chosen.gate_of, data, seed), f"stream-{seed}")
    s = load_problem(run.problem.recipe, with_features=False)
    bundle = Bundle(path, {core.name: "litert" for core in s.device.cores})
    ungated = (run.folder / "best" / "ungated.tflite").read_bytes()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            streams = {
                f"{other:g}": _measure_stream(bundle, ungated, s, other)
                for other in (OTHERS if seed == 0 else (OTHER,))
            }
            front = _front_ends(s)
    finally:
        torch.set_num_threads(threads)
    return {
        "machine": fingerprint(),
        "plan": str(GatePlan.from_dict(bundle.manifest["plan"])),
        "macs": summary["baseline"]["macs"],
        "test": summary["data"]["test"],
        "accuracy": [summary["baseline"]["accuracy"], best["accuracy"]],
        "gate_recall": best["gate_recall"],
        "stopped": best["early_stop_by_kind"],
        "without": StreamRunner(bundle).unsupported,
        "frontend_us": front,
        "streams": streams,
    }


def _measure_stream(bundle: Bundle, ungated: bytes, s: Problem, other: float) -> dict[str, Any]:
    shares = {"positive": POSITIVE, "_unknown_": other, "_silence_": 1 - POSITIVE - other}
    test = s.features.test
    windows = draw_windows(test.features, test.kinds, s.data.kind_names, shares, WINDOWS, s.recipe.seed)
    costs = time_stream(bundle, ungated, windows, ROUNDS)
    derived = {name: getattr(costs, name) for name in ("gain", "bound", "ratio")}
    return {**dataclasses.asdict(costs), **derived, "latency_us": _latencies(bundle, windows)}


def _export_behind_gate(run: RunResult, donor: RunResult, name: str) -> tuple[Path, dict[str, Any]]:
    """Export a run's ungated backbone behind another run's gate.

    Args:
        run: the run with the ungated backbone.
        donor: the run with the gate at the input.
        name: name of the bundle's folder in the folder of ``run``.

    Returns:
        The path of the bundle, and its figures on the test split.

    Raises:
        UserError: the plan of ``donor`` has no gate at the input.
    """
    path = run.folder / name / "bundle"
    figures: dict[str, Any] | None = run.folder.read_json(f"{name}/quality.json")
    if figures is None:
        plan = GatePlan.from_dict(donor.folder.read_json("summary.json")["best"]["plan"])
        if not plan.gates or plan.gates[0].site != "input":
            raise UserError(f"bench kernels: {donor.folder.path}: picked {plan}, no gate at the input")
        plan = GatePlan(plan.gates[:1], (plan.cores[0], plan.cores[-1]))  # the backbone runs on the last core
        s = load_problem(run.problem.recipe.model_copy(update={"augment": None}))  # no training needs augmentation
        whole = GatedModel(s.backbone, GatePlan(), s.sites, s.outputs)
        whole.load_state_dict(torch.load(run.folder / "logs/ungated.ckpt", weights_only=True))
        model = GatedModel(whole.stages[0], plan, s.sites, s.outputs)
        state = torch.load(donor.folder / "best/model.ckpt", weights_only=True)
        start = "gates.0."
        gate = {name.removeprefix(start): value for name, value in state.items() if name.startswith(start)}
        model.gates[0].load_state_dict(gate)
        export.write_bundle(s, path, model.eval(), {})
        quality = s.goal.assess(model, s.features.test)
        assert isinstance(quality, Quality)  # the recipe's goal is to classify
        figures = {
            "accuracy": quality.accuracy,
            "gate_recall": quality.gate_recall,
            "early_stop_by_kind": {kind: share_stopped(quality, kind) for kind in kws.KINDS},
        }
        run.folder.write_json(f"{name}/quality.json", figures)
    return path, figures


def _front_ends(s: Problem) -> dict[str, float]:
    """Return the front end's time per window in microseconds: in torch, by kernels, and by kernels on new frames."""
    assert isinstance(s.frontend, LogMel)  # the front end of all spotters is MFCC
    wave, mel = s.data.test.inputs[:1], Mel(s.frontend)
    clip = to_float(wave[0]).numpy()
    calls: dict[str, Callable[[], object]] = {"torch": lambda: s.frontend(wave), "kernels": lambda: mel(clip)}
    for frames in FRAMES:
        step = MelStream(mel, frames)
        calls[f"{frames}"] = lambda step=step, new=clip[-step.samples :]: step(new)  # type: ignore[misc]
    return {name: timing.minimum_us for name, timing in interleaved(calls, 50).items()}


def _latencies(bundle: Bundle, windows: torch.Tensor) -> dict[str, float]:
    """Return the median and the 99th percentile of the time per window in microseconds.

    Windows that the first gate stops, and windows that pass, have figures of their own.
    """
    listener, elapsed_us = StreamRunner(bundle), {True: list[float](), False: list[float]()}
    raw = [bundle.quantise(window) for window in windows.numpy()]
    for window in raw:
        began = time.perf_counter_ns()
        answer = listener(window)
        elapsed_us[answer is None].append((time.perf_counter_ns() - began) / 1e3)
    return {
        f"{name}, {what}": float(np.percentile(elapsed_us[stopped], place)) if elapsed_us[stopped] else 0.0
        for name, stopped in (("stopped", True), ("passed", False))
        for what, place in (("median", 50), ("99 %", 99))
    }
