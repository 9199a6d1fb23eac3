"""Runs the recipe of a keyword transformer, and measures how int8 changes the answers of the ungated backbone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gatesearch.compile import passes
from gatesearch.compile.tflite import channel_last, convert, quantise
from gatesearch.pipeline.export import calibration_features
from gatesearch.pipeline.result import RunResult
from gatesearch.recipe import Recipe
from gatesearch.runtime.program import Program
from results.benchmark import resume
from results.whole_runs import finish_run

RECIPE = "kws_vit_gc.yaml"
RUNS = Path("runs/bench-vit_gc")
# Overrides of the recipe for a few thousand real clips. Without them, the recipe is for a run of ten minutes.
REAL = (
    "training.epochs=60",
    "retrain.epochs=20",
    "augment.renditions=16",
    "search.trials=24",
)
INT8_FILE = "bench.json"


@dataclass(frozen=True)
class Outcome:
    """The outcome of one seed.

    Args:
        summary, record: the run's summary.json and record.json.
        arithmetic: number format of each stage, int8 or float.
        int8: agreement and accuracy of the ungated backbone with all stages in int8.
    """

    summary: Mapping[str, Any]
    record: Mapping[str, Any]
    arithmetic: tuple[str, ...]
    int8: Mapping[str, float]

    @property
    def best(self) -> Mapping[str, Any]:
        """The figures of the picked plan."""
        best: Mapping[str, Any] = self.summary["best"]
        return best

    def sweep(self, prevalence: float) -> Mapping[str, float | None]:
        """Return the figures at a prevalence, the share of positives in the stream."""
        return next(row for row in self.best["prevalence"] if row["prevalence"] == prevalence)


def measure(path: Path, recipe: Recipe) -> Outcome:
    """Run the recipe to its end and return the outcome of the seed."""
    run = finish_run(path, recipe)
    int8 = resume(run.folder, INT8_FILE, lambda: measure_int8(run))
    manifest = run.folder.read_json("best/bundle/manifest.json")
    return Outcome(
        summary=run.folder.read_json("summary.json"),
        record=run.folder.read_json("record.json"),
        arithmetic=tuple(stage["arithmetic"] for stage in manifest["stages"]),
        int8=int8,
    )


def measure_int8(run: RunResult) -> dict[str, float]:
    """Return agreement and accuracy of the ungated backbone in int8, on the test split.

    ``agreement`` is the share of windows on which the int8 program and the model give the same answer. ``accuracy`` is
    the accuracy of the int8 program over all classes. The two figures show why some stages stay in float.
    """
    problem, ungated = run.problem, run.ungated
    [stage] = passes.run(ungated, calibration_features(problem), problem.device, until="rescale")
    model = convert(stage.program, stage.samples[:1])
    output_range = problem.frontend.output_range
    program = Program(quantise(model, channel_last(stage.samples.numpy()), output_range))
    test = problem.features.test
    windows = channel_last(test.features.numpy())
    answers = []
    for i in range(len(windows)):
        logits = program(program.inputs[0].quantise(windows[i : i + 1]))[0]
        answers.append(int(logits.argmax()))
    answered = torch.tensor(answers)
    with torch.no_grad():
        expected = ungated(test.features).logits.argmax(1)
    return {
        "agreement": float((answered == expected).double().mean()),
        "accuracy": float((answered == test.labels).double().mean()),
    }
