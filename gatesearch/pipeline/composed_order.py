"""Trains some composed plans as trials are trained, to compare the order of both figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from gatesearch._lib import console
from gatesearch.cost.model import CostModel
from gatesearch.pipeline.evaluate import Evaluator
from gatesearch.pipeline.problem import Problem
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.pipeline.training import Baseline
from gatesearch.search.result import COMPOSED, SearchResult, Trial

ORDER_FILE = "logs/composed_order.json"
MIN_PLANS, MIN_TAU = 4, 0.5  # with fewer plans, or below this value in quality, the line says so


@dataclass(frozen=True)
class ComposedOrder:
    """Figures of composed plans beside those of their trainings.

    Args:
        plans: digests of the plans.
        composed, trained: quality and energy [uJ] of each plan, composed and trained.
    """

    plans: tuple[str, ...]
    composed: tuple[tuple[float, float], ...]
    trained: tuple[tuple[float, float], ...]

    @property
    def tau(self) -> tuple[float | None, float | None]:
        """Kendall's tau of quality and of energy; None where all values of a side are equal."""
        return tau(*self._column(0)), tau(*self._column(1))

    def _column(self, index: int) -> tuple[list[float], list[float]]:
        return [row[index] for row in self.composed], [row[index] for row in self.trained]

    def describe(self) -> str:
        """Return one line on the agreement of the two orders.

        >>> ComposedOrder(("a", "b"), ((0.8, 1.0), (0.9, 2.0)), ((0.7, 1.5), (0.9, 2.5))).describe()
        "composed: Kendall's tau to 2 trained ones 1.00 in quality, 1.00 in energy (fewer than 4 plans say little)"
        """
        quality, energy = ("-" if value is None else f"{value:.2f}" for value in self.tau)
        note = f" (fewer than {MIN_PLANS} plans say little)" if len(self.plans) < MIN_PLANS else ""
        if not note and (self.tau[0] or 0.0) < MIN_TAU:
            note = " (low: search.compose=false trains each plan)"
        return (
            f"composed: Kendall's tau to {len(self.plans)} trained ones {quality} in quality, {energy} in energy{note}"
        )

    def summary(self) -> dict[str, Any]:
        """Return the entry of summary.json."""
        quality, energy = self.tau
        return {"plans": len(self.plans), "tau_quality": quality, "tau_energy": energy}


def tau(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return Kendall's tau-b of two orders; None if all values of a side are equal.

    >>> tau([1, 2, 3], [3, 2, 1]), tau([1, 1], [1, 2])
    (-1.0, None)
    """
    if len(set(first)) < 2 or len(set(second)) < 2:
        return None
    return float(kendalltau(first, second).statistic)


def compare_order(
    problem: Problem, baseline: Baseline, cost: CostModel, trials: SearchResult, folder: RunFolder
) -> ComposedOrder | None:
    """Train composed plans of the front, or of all trials, and compare their figures; None without composed plans.

    The run folder stores the result, which a resumed run reads.
    """
    plans = choose_plans(trials, problem.recipe.search.finalists)
    if not plans:
        return None
    stored = folder.load(ORDER_FILE, _parse, "the plans are trained again")
    if stored is not None and stored.plans == tuple(trial.plan.digest for trial in plans):
        return stored
    evaluate = Evaluator(problem, baseline, cost, folder / "logs/trials")
    trained = []
    with console.progress(len(plans), "train composed plans") as bar:
        for trial in plans:
            objectives = evaluate(trial.plan).objectives
            trained.append((objectives.accuracy, objectives.energy_uj))
            bar.advance()
    order = ComposedOrder(
        tuple(trial.plan.digest for trial in plans),
        tuple((t.objectives.accuracy, t.objectives.energy_uj) for t in plans if t.objectives),
        tuple(trained),
    )
    folder.write_json(ORDER_FILE, asdict(order))
    return order


def choose_plans(trials: SearchResult, count: int) -> list[Trial]:
    """Return composed plans with different gates, evenly spaced in energy; plans of the front come first."""
    composed = [trial for trial in trials.complete if trial.method == COMPOSED and trial.plan.gates]
    front = {trial.number for trial in trials.front}
    composed.sort(key=lambda trial: trial.number not in front)
    by_gates = {trial.plan.gates: trial for trial in reversed(composed)}
    pool = sorted(by_gates.values(), key=lambda trial: trial.objectives.energy_uj if trial.objectives else 0.0)
    places = np.linspace(0, len(pool) - 1, min(count, len(pool))).round().astype(int).tolist()
    return [pool[place] for place in dict.fromkeys(places)]


def _parse(text: bytes) -> ComposedOrder:
    values = json.loads(text)
    return ComposedOrder(*(tuple(map(_frozen, values[name])) for name in ("plans", "composed", "trained")))


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
