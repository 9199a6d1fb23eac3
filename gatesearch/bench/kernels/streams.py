"""The keyword spotters that listen to a stream in `bench kernels`: two backbones, each searched for that stream."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gatesearch.bench import runs
from gatesearch.export import streaming
from gatesearch.export.listen import Listener
from gatesearch.export.runtime import Bundle
from gatesearch.hardware.timing import fingerprint, interleaved
from gatesearch.pipeline import Run
from gatesearch.plan import GatePlan
from gatesearch.recipe import Recipe, load

RECIPE = "kws.yaml"
# 99 % negatives, most of them background: what the plan is searched, trained and calibrated for.
POSITIVE, OTHER = 0.01, 0.04
LISTENING = ("stream.shares={positive: 0.01, _unknown_: 0.04, _silence_: 0.95}", "search.trials=12")
# Eleven times the multiplications of the other: a short training, and a search of the input's gate alone.
LARGE = (
    "backbone_args={width: 276, blocks: 5, stem_stride: [2, 1], first_stride: [2, 2]}",
    *("training.epochs=10", "training.learning_rate=0.005", "retrain.epochs=6"),
    *("space.sites=[input]", "search.trials=2", "search.epochs=1"),
)
BACKBONES: Mapping[str, Sequence[str]] = {"DS-CNN": LISTENING, "DS-CNN-L": (*LISTENING[:1], *LARGE)}
OTHERS = (0.0, OTHER, 0.11, 0.3)  # shares of other words in the streams; .11 is the mix of recipes/kws.yaml
WINDOWS, ROUNDS = 1000, 15


def recipe(backbone: str, data: Sequence[str]) -> Recipe:
    """Return the recipe of one of BACKBONES; data are further overrides, such as data.root."""
    return load(RECIPE, [*BACKBONES[backbone], *data])


def folder(root: Path, backbone: str, synthetic: bool) -> Path:
    """Return where the run of a backbone lies."""
    return root / f"stream-{backbone.lower()}-{'synthetic' if synthetic else 'real'}"


def measured(run: Run) -> dict[str, Any]:
    """Return what a finished run's bundle costs on streams of several mixes, beside its ungated program, as JSON."""
    assert run.manifest
    s, path = run.setting, run.folder / "best" / "bundle"
    bundle = Bundle(path, {core.name: "litert" for core in s.device.cores})
    ungated = (run.folder / "best" / "ungated.tflite").read_bytes()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    streams = {}
    try:
        with torch.inference_mode():
            for other in OTHERS:
                shares = {"positive": POSITIVE, "_unknown_": other, "_silence_": 1 - POSITIVE - other}
                windows = streaming.stream(s.features.test, s.data.kind_names, shares, WINDOWS, run.recipe.seed)
                found = streaming.measure(bundle, ungated, windows, ROUNDS)
                streams[f"{other:g}"] = {
                    **dataclasses.asdict(found),
                    **{name: getattr(found, name) for name in ("gain", "bound", "ratio")},
                    "latency_us": _latencies(bundle, windows),
                }
            wave = s.data.test.inputs[:1]
            front = interleaved({"front end": lambda: s.frontend(wave)}, 50)["front end"]
    finally:
        torch.set_num_threads(threads)
    summary = run.folder.read_json("summary.json")
    return {
        "machine": fingerprint(),
        "plan": str(GatePlan.from_dict(summary["best"]["plan"])),
        "macs": summary["baseline"]["macs"],
        "test": summary["data"]["test"],
        "accuracy": [summary["baseline"]["accuracy"], summary["best"]["accuracy"]],
        "gate_recall": summary["best"]["gate_recall"],
        "stopped": summary["best"]["early_stop_by_kind"],
        "without": Listener(bundle).without,
        "frontend_us": front.minimum_us,
        "streams": streams,
    }


def finished(root: Path, backbone: str, data: Sequence[str]) -> Run:
    """Return the run of a backbone, gone to its end now or before."""
    synthetic = not any(text.startswith("data.root=") for text in data)
    return runs.finished(folder(root, backbone, synthetic), recipe(backbone, data))


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
