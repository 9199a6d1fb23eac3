"""Scores of plans: the hypervolume that each is expected to add, times the probability that it is feasible."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gatesearch.plan import GatePlan
from gatesearch.search import pareto
from gatesearch.search.sampler.ehvi import LogNormal, expected_improvement
from gatesearch.search.sampler.history import EndedTrial, feasible_front
from gatesearch.search.sampler.plan_costs import PlanCosts, expected_costs
from gatesearch.search.sampler.posterior import Posterior
from gatesearch.search.slots import Gates

Array = npt.NDArray[np.float64]
MIN_COMBINATIONS = 2  # of gates that were tried, before predictions are used
REFERENCE_MARGIN = 0.1  # share of the predicted front's range by which the reference lies beyond its worst ends
MIN_RANGE = 0.01  # share of a value that counts as its range where all values are alike
TINY_VOLUME = 1e-12  # smaller than any improvement that matters: breaks ties between plans without one


@dataclass(frozen=True)
class ScoredPlans:
    """Plans, each the gates of a candidate on one choice of cores.

    Args:
        candidate: index of the candidate, [m].
        cores: of each plan.
        score: the higher the better, [m].
    """

    candidate: npt.NDArray[np.intp]
    cores: Sequence[tuple[str, ...]]
    score: Array

    def best_first(self, candidates: Sequence[Gates]) -> Iterator[GatePlan]:
        """Yield the plans; those with equal scores in their order."""
        for i in np.argsort(-self.score, kind="stable"):
            yield GatePlan(candidates[self.candidate[i]], self.cores[i])


def score_plans(
    candidates: Sequence[Gates],
    costs: PlanCosts,
    posterior: Posterior,
    ended: Sequence[EndedTrial],
    running: Sequence[GatePlan],
    *,
    reference: Sequence[float] | None,
    in_order: bool,
) -> ScoredPlans:
    """Score the plans that candidates make on all choices of cores.

    Args:
        candidates: gates.
        costs: of plans.
        posterior: after the trials that ended.
        ended: those trials.
        running: plans that are being tried; they count as if they came out as predicted.
        reference: error and costs up to which volume counts; None: a little beyond the predicted front.
        in_order: where nothing can be predicted yet, whether earlier candidates come first; else the cheapest of all.
    """
    stage_costs = [costs.core_costs(gates) for gates in candidates]
    candidate = np.repeat(np.arange(len(candidates)), [len(rows) for rows in stage_costs])
    cores = [choice for gates in candidates for choice in costs.core_choices(gates)]
    plan_costs = expected_costs(np.concatenate(stage_costs), posterior.predict_reach(candidates)[candidate])
    if posterior.combinations < MIN_COMBINATIONS or len(candidates) == 1:
        return ScoredPlans(candidate, cores, -_relative_cost(plan_costs) - candidate * in_order)
    error, feasible = posterior.predict_quality(candidates)
    front = [one.minimised for one in feasible_front(ended) if one.minimised]
    front += [_predicted_point(plan, costs, posterior) for plan in running]
    can_run = np.isfinite(plan_costs).all(1)
    likely = can_run & (feasible[candidate] > 0.5)
    points = np.column_stack([np.exp(error.mean[candidate]), plan_costs])[likely if likely.any() else can_run]
    scale = _reference(np.vstack([points, *front])) if reference is None else np.array(reference)
    scaled_error = LogNormal(error.mean[candidate] - np.log(scale[0]), error.deviation[candidate])
    scaled_costs = plan_costs / scale[1:]
    scaled_front = [tuple(np.array(point) / scale) for point in front]
    improvement = expected_improvement(scaled_error, scaled_costs, scaled_front, (1.0, 1.0, 1.0))
    # Where no plan is expected to improve anything, the one that comes nearest to it wins.
    optimistic = np.column_stack([np.exp(scaled_error.mean - scaled_error.deviation), scaled_costs])
    return ScoredPlans(candidate, cores, improvement * feasible[candidate] - TINY_VOLUME * optimistic.max(1))


def _relative_cost(costs: Array) -> Array:
    """Return the sum of the costs [m, 2], each as a multiple of the least, mapped to 0..1; infinite where one is."""
    can_run = np.isfinite(costs.sum(1))
    total = (costs / np.maximum(costs.min(0, where=can_run[:, None], initial=np.inf), TINY_VOLUME)).sum(1)
    return np.divide(total, 1 + total, out=np.full(len(total), np.inf), where=can_run)


def _predicted_point(plan: GatePlan, costs: PlanCosts, posterior: Posterior) -> tuple[float, ...]:
    """Return the error and the costs with which a running plan is predicted to end."""
    error = float(np.exp(posterior.predict_quality([plan.gates])[0].mean[0]))
    return (error, *expected_costs(costs.plan_costs(plan)[None], posterior.predict_reach([plan.gates]))[0])


def _reference(points: Array) -> Array:
    """Return the corner up to which volume counts, given observed and predicted points [m, 3].

    A corner a tenth of the front's range beyond its worst ends lets the ends count, too (Ishibuchi et al. 2018, "How to
    Specify a Reference Point in Hypervolume Calculation").
    """
    front = pareto.unique_front(points)
    worst = front.max(0)
    corner: Array = worst + REFERENCE_MARGIN * np.maximum(worst - front.min(0), MIN_RANGE * np.abs(worst))
    return corner
