"""The keyword spotters that listen to a stream in `bench kernels`: runs of other benchmarks, or one of their own."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gatesearch._lib.timing import fingerprint, interleaved
from gatesearch.data.frontend import LogMel
from gatesearch.data.types import to_float
from gatesearch.errors import UserError
from gatesearch.kernels import Mel, MelStream
from gatesearch.model import GatedModel
from gatesearch.pipeline import export_step
from gatesearch.pipeline.problem import Setting
from gatesearch.pipeline.steps import Run
from gatesearch.plan import GatePlan
from gatesearch.recipe import load
from gatesearch.runtime import streaming
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.listen import Listener
from gatesearch.training import Quality
from results import kws, runs, vit_gc

POSITIVE, OTHER = 0.01, 0.04
OTHERS = (0.0, OTHER, 0.11, 0.3)  # shares of other words in the streams; .11 mixes negatives as the recipes do
WINDOWS, ROUNDS = 1000, 20
FRAMES = (5, 1)  # that are new in a window, 20 ms each, where windows overlap
SEEDS = (0, 1, 2)  # of the runs on real speech; on synthetic speech there is the first
STREAM = "stream.shares={positive: 0.01, _unknown_: 0.04, _silence_: 0.95}"
LARGE = (
    "backbone_args={width: 276, blocks: 5, stem_stride: [2, 1], first_stride: [2, 2]}",
    *(STREAM, "training.epochs=20", "training.learning_rate=0.005", "retrain.epochs=10"),
    *("space.sites=[input]", "search.trials=2", "search.epochs=1"),
)
# The gate at the input sees nothing of the backbone, which so may be trained briefly, and be any.
GATE_ALONE = (
    *(STREAM, "training.epochs=20", "constraints.max_accuracy_drop=1.0", "search.trials=2", "search.epochs=1"),
    "space={gates: {min: 1, max: 1}, sites: [input], kinds: {gc: {mode: [channel], keep: [1.0], recall: [0.99]}}}",
)


@dataclass(frozen=True)
class Spotter:
    """A gated network that is there once a benchmark was run, or is made.

    Args:
        recipe: its file.
        runs: folder in which its runs lie, as real-SEED.
        synthetic: name of the run on synthetic speech.
        real: what is changed in the recipe on real speech.
        least: how many times less the stream must take than the ungated program.
        about: where it comes from, for the page.
        always: what is changed in the recipe on any speech.
        gate_of: another spotter, whose trained gate at the input takes the place of the run's own gates: there it sees
            nothing of the backbone. None leaves the run's own.
        seeds: of the runs that there are, or, with a gate of another spotter, of that one's.
    """

    recipe: str
    runs: Path
    synthetic: str
    real: Sequence[str]
    least: float
    about: str
    always: Sequence[str] = ()
    gate_of: Spotter | None = None
    seeds: Sequence[int] = SEEDS


GATE = Spotter(
    *(kws.RECIPE, Path("runs/bench-kernels-gate"), "synthetic", kws.REAL, 0.0),
    "a gate at the input alone, trained for this stream",
    always=GATE_ALONE,
)
BEHIND_IT = (
    f"The gate in front of it was trained for this stream, in runs of their own (`gatesearch run recipe={kws.RECIPE}` "
    f"with `{' '.join(GATE_ALONE)}`), and stands at the input, where it sees nothing of what follows; it was set there "
    "by hand and calibrated anew. Seeds are those of the gate"
)
SPOTTERS: Mapping[str, Spotter] = {
    "DS-CNN": Spotter(
        *(kws.RECIPE, kws.RUNS, "synthetic", kws.REAL, 6.0),
        "the plans that results/kws.md shows, searched for that recipe's stream",
    ),
    "KWT": Spotter(
        *(vit_gc.RECIPE, vit_gc.RUNS, "synthetic-0", vit_gc.REAL, 15.0),
        "the ungated transformer of results/vit_gc.md. It has no more multiplications than the DS-CNN, but takes four "
        f"times as long. {BEHIND_IT}",
        gate_of=GATE,
    ),
    "DS-CNN-L": Spotter(
        *(kws.RECIPE, Path("runs/bench-kernels-large"), "synthetic", (), 15.0),
        f"the ungated backbone of a run of its own. {BEHIND_IT}",
        always=LARGE,
        gate_of=GATE,
    ),
}


def finished(chosen: Spotter, data: Sequence[str], seed: int = 0) -> Run:
    """Return the run of a spotter, gone to its end now or before; data are further overrides, such as data.root."""
    real = any(text.startswith("data.root=") for text in data)
    changes = [*(chosen.real if real else ()), *chosen.always, *data, f"seed={seed}"]
    return runs.finished(chosen.runs / (f"real-{seed}" if real else chosen.synthetic), load(chosen.recipe, changes))


def measured(name: str, data: Sequence[str], seed: int) -> dict[str, Any]:
    """Return what a spotter costs on streams of several mixes, beside its ungated program, as JSON."""
    chosen = SPOTTERS[name]
    run = finished(chosen, data, 0 if chosen.gate_of else seed)
    summary = run.folder.read_json("summary.json")
    path, best = run.folder / "best" / "bundle", summary["best"]
    if chosen.gate_of is not None:
        path, best = _joined(run, finished(chosen.gate_of, data, seed), f"stream-{seed}")
    s = Setting.of(run.recipe, with_features=False)
    bundle = Bundle(path, {core.name: "litert" for core in s.device.cores})
    ungated = (run.folder / "best" / "ungated.tflite").read_bytes()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            streams = {
                f"{other:g}": _streamed(bundle, ungated, s, other) for other in (OTHERS if seed == 0 else (OTHER,))
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
        "without": Listener(bundle).without,
        "frontend_us": front,
        "streams": streams,
    }


def _streamed(bundle: Bundle, ungated: bytes, s: Setting, other: float) -> dict[str, Any]:
    shares = {"positive": POSITIVE, "_unknown_": other, "_silence_": 1 - POSITIVE - other}
    windows = streaming.stream(s.features.test, s.data.kind_names, shares, WINDOWS, s.recipe.seed)
    found = streaming.measure(bundle, ungated, windows, ROUNDS)
    derived = {name: getattr(found, name) for name in ("gain", "bound", "ratio")}
    return {**dataclasses.asdict(found), **derived, "latency_us": _latencies(bundle, windows)}


def _joined(run: Run, donor: Run, name: str) -> tuple[Path, dict[str, Any]]:
    """Export a run's ungated backbone behind another run's gate; returns the bundle and its figures on the test split.

    Raises:
        UserError: the other run's plan has no gate at the input.
    """
    path = run.folder / name / "bundle"
    kept: dict[str, Any] | None = run.folder.read_json(f"{name}/quality.json")
    if kept is None:
        plan = GatePlan.from_dict(donor.folder.read_json("summary.json")["best"]["plan"])
        if not plan.gates or plan.gates[0].site != "input":
            raise UserError(f"bench kernels: {donor.folder.path}: picked {plan}, no gate at the input")
        plan = GatePlan(plan.gates[:1], (plan.cores[0], plan.cores[-1]))  # what stands behind it stays there
        run = Run(run.recipe.model_copy(update={"augment": None}), run.folder)  # nothing is trained here
        s = run.setting
        whole = GatedModel(s.backbone, GatePlan(), s.sites, s.outputs)
        whole.load_state_dict(torch.load(run.folder / "logs/ungated.ckpt", weights_only=True))
        model = GatedModel(whole.stages[0], plan, s.sites, s.outputs)
        state = torch.load(donor.folder / "best/model.ckpt", weights_only=True)
        start = "gates.0."
        gate = {name.removeprefix(start): value for name, value in state.items() if name.startswith(start)}
        model.gates[0].load_state_dict(gate)
        export_step.write_bundle(run, path, model.eval(), {})
        quality = run.quality(model)
        assert isinstance(quality, Quality)  # the recipe's goal is to classify
        kept = {
            "accuracy": quality.accuracy,
            "gate_recall": quality.gate_recall,
            "early_stop_by_kind": {kind: runs.stopped(quality, kind) for kind in kws.KINDS},
        }
        run.folder.write_json(f"{name}/quality.json", kept)
    return path, kept


def _front_ends(s: Setting) -> dict[str, float]:
    """Return microseconds a window: of the front end in torch, by kernels, and by kernels where few frames are new."""
    assert isinstance(s.frontend, LogMel)  # both recipes read MFCC
    wave, mel = s.data.test.inputs[:1], Mel(s.frontend)
    clip = to_float(wave[0]).numpy()
    calls: dict[str, Callable[[], object]] = {"torch": lambda: s.frontend(wave), "kernels": lambda: mel(clip)}
    for frames in FRAMES:
        step = MelStream(mel, frames)
        calls[f"{frames}"] = lambda step=step, new=clip[-step.samples :]: step(new)  # type: ignore[misc]
    return {name: timing.minimum_us for name, timing in interleaved(calls, 50).items()}


def _latencies(bundle: Bundle, windows: torch.Tensor) -> dict[str, float]:
    """Return the middle and the 99th percentile of windows that stop at the first gate, and of those that pass it."""
    listener, taken = Listener(bundle), {True: list[float](), False: list[float]()}
    raw = [bundle.quantise(window) for window in windows.numpy()]
    for window in raw:
        began = time.perf_counter_ns()
        answer = listener(window)
        taken[answer is None].append((time.perf_counter_ns() - began) / 1e3)
    return {
        f"{name}, {what}": float(np.percentile(taken[stopped], place)) if taken[stopped] else 0.0
        for name, stopped in (("stopped", True), ("passed", False))
        for what, place in (("median", 50), ("99 %", 99))
    }
