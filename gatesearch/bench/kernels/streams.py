"""The keyword spotters that listen to a stream in `bench kernels`: runs of other benchmarks, or one of their own."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gatesearch.bench import kws, runs, vit_gc
from gatesearch.export import streaming
from gatesearch.export.listen import Listener
from gatesearch.export.runtime import Bundle
from gatesearch.hardware.timing import fingerprint, interleaved
from gatesearch.pipeline import Run
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.recipe import load
from gatesearch.setting import Setting
from gatesearch.training import Quality

POSITIVE, OTHER = 0.01, 0.04
OTHERS = (0.0, OTHER, 0.11, 0.3)  # shares of other words in the streams; .11 mixes negatives as the recipes do
WINDOWS, ROUNDS = 1000, 10
LARGE = (
    "backbone_args={width: 276, blocks: 5, stem_stride: [2, 1], first_stride: [2, 2]}",
    "stream.shares={positive: 0.01, _unknown_: 0.04, _silence_: 0.95}",
    *("training.epochs=20", "training.learning_rate=0.005", "retrain.epochs=10"),
    *("space.sites=[input]", "search.trials=2", "search.epochs=1"),
)
AT_INPUT = PlacedGate.of("gc", "input", keep=1.0, mode="channel", recall=0.99)


@dataclass(frozen=True)
class Spotter:
    """A gated network that is there once a benchmark was run, or is made.

    Args:
        recipe: its file.
        runs: folder in which its run lies, as real-0.
        synthetic: name of the run on synthetic speech.
        real: what is changed in the recipe on real speech.
        least: how many times less the stream must take than the ungated program.
        about: where it comes from, for the page.
        always: what is changed in the recipe on any speech.
        plan: another one than the run picked, retrained from the run's baseline; None is the picked one.
        epochs: of that retraining.
    """

    recipe: str
    runs: Path
    synthetic: str
    real: Sequence[str]
    least: float
    about: str
    always: Sequence[str] = ()
    plan: GatePlan | None = None
    epochs: int = 0


SPOTTERS: Mapping[str, Spotter] = {
    "DS-CNN": Spotter(
        *(kws.RECIPE, kws.RUNS, "synthetic", kws.REAL, 6.0),
        "the plan that results/kws.md shows as seed 0, searched for that recipe's stream",
    ),
    "KWT": Spotter(
        *(vit_gc.RECIPE, vit_gc.RUNS, "synthetic-0", vit_gc.REAL, 15.0),
        "the baseline of results/vit_gc.md, whose search put the gate behind the first block; here it stands at the "
        "input, set by hand and retrained for six epochs, since on this stream a block for every window is too much",
        plan=GatePlan((AT_INPUT,), ("mcu", "npu")),
        epochs=6,
    ),
    "DS-CNN-L": Spotter(
        *(kws.RECIPE, Path("runs/bench-kernels-large"), "synthetic", (), 15.0),
        "a run of its own, searched for this stream at the input alone",
        always=LARGE,
    ),
}


def finished(name: str, data: Sequence[str]) -> Run:
    """Return the run of a spotter, gone to its end now or before; data are further overrides, such as data.root."""
    chosen, real = SPOTTERS[name], any(text.startswith("data.root=") for text in data)
    changes = [*(chosen.real if real else ()), *chosen.always, *data, "seed=0"]
    return runs.finished(chosen.runs / ("real-0" if real else chosen.synthetic), load(chosen.recipe, changes))


def measured(name: str, run: Run) -> dict[str, Any]:
    """Return what a spotter costs on streams of several mixes, beside its ungated program, as JSON."""
    chosen = SPOTTERS[name]
    summary = run.folder.read_json("summary.json")
    path, best = run.folder / "best" / "bundle", summary["best"]
    if chosen.plan is not None:
        path, best = _planned(run, chosen.plan, chosen.epochs)
    s = Setting.of(run.recipe, with_features=False)
    bundle = Bundle(path, {core.name: "litert" for core in s.device.cores})
    ungated = (run.folder / "best" / "ungated.tflite").read_bytes()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            streams = {f"{other:g}": _streamed(bundle, ungated, s, other) for other in OTHERS}
            wave = s.data.test.inputs[:1]
            front = interleaved({"front end": lambda: s.frontend(wave)}, 50)["front end"]
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
        "frontend_us": front.minimum_us,
        "streams": streams,
    }


def _streamed(bundle: Bundle, ungated: bytes, s: Setting, other: float) -> dict[str, Any]:
    shares = {"positive": POSITIVE, "_unknown_": other, "_silence_": 1 - POSITIVE - other}
    windows = streaming.stream(s.features.test, s.data.kind_names, shares, WINDOWS, s.recipe.seed)
    found = streaming.measure(bundle, ungated, windows, ROUNDS)
    derived = {name: getattr(found, name) for name in ("gain", "bound", "ratio")}
    return {**dataclasses.asdict(found), **derived, "latency_us": _latencies(bundle, windows)}


def _planned(run: Run, plan: GatePlan, epochs: int) -> tuple[Path, dict[str, Any]]:
    """Retrain and export another plan of a run; returns its bundle and its figures on the test split."""
    path = run.folder / "stream" / "bundle"
    kept = run.folder.read_json("stream/quality.json")
    if kept is None:
        model = run.retrain("stream", plan, epochs=epochs)
        run.write_bundle(path, model, {})
        quality = run.quality(model)
        assert isinstance(quality, Quality)  # the recipe's goal is to classify
        kept = {
            "accuracy": quality.accuracy,
            "gate_recall": quality.gate_recall,
            "early_stop_by_kind": {kind: runs.stopped(quality, kind) for kind in kws.KINDS},
        }
        run.folder.write_json("stream/quality.json", kept)
    return path, kept


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
