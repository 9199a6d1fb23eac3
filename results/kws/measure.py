"""Runs the recipe of a keyword spotter, and collects the figures of three plans.

For each of several recalls, the module also finds the share of windows that a gate stops at that recall.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatesearch.metrics import Quality
from gatesearch.model import GatedModel
from gatesearch.pipeline.problem import Problem
from gatesearch.pipeline.training import retrain
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.recipe import Recipe
from gatesearch.report.record.gates import roc_curves
from gatesearch.training import gate_logits
from results.whole_runs import finish_run

RECIPE = "kws_clips.yaml"
DEVICE = ("device=three_core", "export.formats=[tflite,onnx]")  # overrides: the figures of the page are of this device
RUNS = Path("runs/bench-kws")
# Overrides of the recipe for a few thousand real clips. Without them, the recipe is for a run of ten minutes.
REAL = (
    "training.epochs=100",
    "retrain.epochs=40",
    "augment.renditions=16",
    "verify.gate_agreement=0.995",
    "verify.prediction_agreement=0.99",
)
DEEP_GATE = PlacedGate.of("gc", "blocks.2", keep=1.0, mode="channel", recall=0.98)
RECALLS = (0.9, 0.95, 0.97, 0.98, 0.99, 0.995)
KINDS = ("_silence_", "_unknown_")

Trade = Mapping[str, Mapping[float, float]]  # share stopped, by kind of window and recall of positives


@dataclass(frozen=True)
class Outcome:
    """The outcome of one seed.

    Args:
        summary: the run's summary.json.
        ungated: test quality of the network without gates.
        picked: test quality of the picked plan.
        deep: test quality of the plan with one gate after the third block.
        deep_macs, picked_macs: expected multiply-accumulates per window with the deep gate, and with the picked plan.
        macs: multiply-accumulates per window without gates.
        trade: share of windows that the deep gate stops at each recall.
        first_trade: share of windows that the picked plan's first gate stops at each recall.
    """

    summary: Mapping[str, Any]
    ungated: Quality
    picked: Quality
    deep: Quality
    deep_macs: float
    picked_macs: float
    macs: int
    trade: Trade
    first_trade: Trade

    @property
    def parity(self) -> Mapping[str, float]:
        """The shares of test samples on which bundle and model agree."""
        parity: Mapping[str, float] = self.summary["export"]["parity"]
        return parity


def measure(name: str, recipe: Recipe) -> Outcome:
    """Run the recipe to its end, retrain the plan with the deep gate, and return the outcome of the seed."""
    run = finish_run(RUNS / name, recipe)
    folder, cost, problem = run.folder, run.cost, run.problem
    core = run.model.plan.cores[-1]
    plan = GatePlan((DEEP_GATE,), (core, core))
    # Without shares, silence and unknown words have equal weights in the training, although streams are mostly silence.
    deep = retrain("deep", plan, problem, run.baseline, folder, dataclasses.replace(problem.gates, shares={}))
    split = problem.features.test
    curves = roc_curves(gate_logits(deep, split.features)[:, 0], split.kinds, problem.features.kind_names)
    picked, deep_quality, ungated = (_quality(problem, model) for model in (run.model, deep, run.ungated))
    gates = folder.read_json("record.json")["gates"]
    return Outcome(
        summary=folder.read_json("summary.json"),
        ungated=ungated,
        picked=picked,
        deep=deep_quality,
        deep_macs=cost.price(plan, deep_quality.passed).expected_macs,
        picked_macs=cost.price(run.model.plan, picked.passed).expected_macs,
        macs=problem.sites[0].macs_after,
        trade=_trade(curves),
        first_trade=_trade(next((gate["roc"] for gate in gates), {})),
    )


def _quality(problem: Problem, model: GatedModel) -> Quality:
    quality = problem.goal.assess(model, problem.features.test)
    assert isinstance(quality, Quality)  # the recipe's goal is to classify
    return quality


def _trade(curves: Mapping[str, Mapping[str, Sequence[float]]]) -> Trade:
    return {kind: {recall: _stopped_at(curve, recall) for recall in RECALLS} for kind, curve in curves.items()}


def _stopped_at(curve: Mapping[str, Sequence[float]], recall: float) -> float:
    """Return the share of windows that are stopped at the first point of the curve with at least ``recall``."""
    pairs = zip(curve["recall"], curve["stopped"], strict=True)
    return next(stopped for reached, stopped in pairs if reached >= recall - 1e-9)
