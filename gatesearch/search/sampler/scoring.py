"""Scores plans: the hypervolume that a plan is expected to add, times the probability that it is feasible."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gatesearch.plan import GatePlan
from gatesearch.search import pareto
from gatesearch.search.sampler.combinations import Combination, expected_costs
from gatesearch.search.sampler.ehvi import LogNormal, expected_improvement
from gatesearch.search.sampler.history import EndedTrial
from gatesearch.search.sampler.posterior import Posterior

Array = npt.NDArray[np.float64]
MIN_COMBINATIONS = 2  # combinations of gates that must have been tried before predictions are used
REFERENCE_MARGIN = 0.1  # distance from the front's worst values to the reference, as a share of the front's range
MIN_RANGE = 0.01  # smallest range of an objective, as a share of its worst value
MIN_COST = 1e-12  # smaller costs count as this
MAX_FRONT = 80  # points of the front that the expected improvement uses; its time grows with the cube of the number
TINY_VOLUME = 1e-12  # weight of a tie-breaker between plans that improve nothing; far below any improvement
SCORE_DIGITS = 7  # significant digits of a score; finer differences are rounding errors, which differ by machine


@dataclass(frozen=True)
class ScoredPlans:
    """Plans with their scores.

    Args:
        combinations: combinations of gates; the plans of the first one come first.
        score: the score of each plan, higher is better, [m].
    """

    combinations: Sequence[Combination]
    score: Array

    def best_first(self) -> Iterator[GatePlan]:
        """Yield the plans from the best score to the worst; plans with the same rounded score keep their order."""
        ends = np.cumsum([len(one.placements) for one in self.combinations])
        for i in np.argsort(-round_significant(self.score, SCORE_DIGITS), kind="stable"):
            k = int(np.searchsorted(ends, i, side="right"))
            yield self.combinations[k].plan(int(i - ends[k]))  # from the end of the combination's plans


def score_plans(
    candidates: Sequence[Combination],
    posterior: Posterior,
    front: Sequence[EndedTrial],
    under_way: Sequence[tuple[Combination, int]],
    *,
    reference: Sequence[float] | None,
    in_order: bool,
) -> ScoredPlans:
    """Return the score of every plan of every candidate combination of gates.

    Args:
        candidates: combinations of gates.
        posterior: the posterior from the ended trials.
        front: the ended trials on the front.
        under_way: plans that are being tried, each as a combination and the plan's index in it. Their predicted
            objectives are added to the front.
        reference: corner of the hypervolume, as error and two costs; None: a corner a little beyond the predicted
            front.
        in_order: the ranking while there are too few trials for predictions: True puts earlier candidates first, False
            the cheapest plan.
    """
    # One row for each plan of each candidate.
    candidate_index = np.repeat(np.arange(len(candidates)), [len(one.placements) for one in candidates])
    stage_costs = np.concatenate([one.stage_costs for one in candidates])
    matches = posterior.match(candidates)
    plan_costs = expected_costs(stage_costs, posterior.predict_reach(candidates, matches)[candidate_index])
    if posterior.count < MIN_COMBINATIONS or len(candidates) == 1:
        score = -_relative_cost(plan_costs) - candidate_index * in_order
        return ScoredPlans(candidates, score)
    error, feasible = posterior.predict_quality(candidates, matches)
    points = [one.minimised for one in front if one.minimised] + _predicted_points(under_way, posterior)
    can_run = np.isfinite(plan_costs).all(1)
    likely = can_run & (feasible[candidate_index] > 0.5)
    predicted = np.column_stack([np.exp(error.mean)[candidate_index], plan_costs])[likely if likely.any() else can_run]
    # Each objective is divided by that of the reference, so that the reference becomes (1, 1, 1).
    scale = _reference(np.vstack([predicted, *points])) if reference is None else np.array(reference, dtype=float)
    scaled_error = LogNormal(error.mean - np.log(scale[0]), error.deviation)
    scaled_costs = plan_costs / scale[1:]
    scaled_front = [tuple(np.array(point) / scale) for point in reduce_front(points)]
    improvement = expected_improvement(scaled_error, scaled_costs, scaled_front, (1.0, 1.0, 1.0), candidate_index)
    # If no plan is expected to improve the front, the plan that comes nearest to an improvement has the best score.
    optimistic_error = np.exp(scaled_error.mean - scaled_error.deviation)[candidate_index]
    score = improvement * feasible[candidate_index] - TINY_VOLUME * np.maximum(optimistic_error, scaled_costs.max(1))
    return ScoredPlans(candidates, score)


def round_significant(values: Array, digits: int) -> Array:
    """Return values rounded to a number of significant digits; zero and infinity stay as they are.

    >>> round_significant(np.array([0.123456, -98765.4, 0.0, np.inf]), 2).tolist()
    [0.12, -99000.0, 0.0, inf]
    """
    size = np.abs(values)
    is_plain = np.isfinite(values) & (size > np.finfo(float).tiny)
    exponent = np.floor(np.log10(size, out=np.zeros_like(size), where=is_plain))
    scale = 10.0 ** (digits - 1 - exponent)
    rounded: Array = np.where(is_plain, np.round(values * scale) / scale, values)
    return rounded


def reduce_front(points: Sequence[tuple[float, ...]], max_points: int = MAX_FRONT) -> list[tuple[float, ...]]:
    """Return at most ``max_points`` points of a front: the best of each objective, and others spread along the first.

    >>> reduce_front([(1.0, 9.0), (2.0, 5.0), (3.0, 4.0), (4.0, 3.0), (5.0, 1.0)], max_points=5)
    [(1.0, 9.0), (2.0, 5.0), (3.0, 4.0), (4.0, 3.0), (5.0, 1.0)]
    >>> reduce_front([(1.0, 9.0), (2.0, 5.0), (3.0, 4.0), (4.0, 3.0), (5.0, 1.0)], max_points=4)
    [(1.0, 9.0), (2.0, 5.0), (4.0, 3.0), (5.0, 1.0)]
    """
    if len(points) <= max_points:
        return list(points)
    ordered = sorted(points)
    ends = {min(range(len(ordered)), key=lambda k, d=d: ordered[k][d]) for d in range(len(ordered[0]))}  # type: ignore[misc]
    between = [k for k in range(len(ordered)) if k not in ends]
    spread = np.linspace(0, len(between) - 1, max_points - len(ends)).round().astype(int)
    return [ordered[k] for k in sorted({*ends, *(between[k] for k in spread)})]


def _relative_cost(costs: Array) -> Array:
    """Return the relative cost of each plan, from 0 to 1; infinite where a cost is infinite.

    Each of the two costs [m, 2] is divided by the smallest such cost of all plans. The sum s of a plan's two quotients
    is mapped to s / (1 + s).
    """
    can_run = np.isfinite(costs.sum(1))
    total = (costs / np.maximum(costs.min(0, where=can_run[:, None], initial=np.inf), MIN_COST)).sum(1)
    return np.divide(total, 1 + total, out=np.full(len(total), np.inf), where=can_run)


def _predicted_points(
    under_way: Sequence[tuple[Combination, int]], posterior: Posterior
) -> list[tuple[float, float, float]]:
    """Return the predicted error and costs of the plans that are being tried."""
    if not under_way:
        return []
    combinations = [combination for combination, _ in under_way]
    stage_costs = np.array([combination.stage_costs[k] for combination, k in under_way])
    matches = posterior.match(combinations)
    costs = expected_costs(stage_costs, posterior.predict_reach(combinations, matches))
    errors = np.exp(posterior.predict_quality(combinations, matches)[0].mean)
    return [(float(error), *map(float, row)) for error, row in zip(errors, costs, strict=True)]  # type: ignore[misc]


def _reference(points: Array) -> Array:
    """Return the corner up to which volume counts, from observed and predicted points [m, 3].

    The corner lies a tenth of the front's range beyond the front's worst value of each objective. So the points with
    these values add volume, too (Ishibuchi et al. 2018, "How to Specify a Reference Point in Hypervolume Calculation").
    """
    finite = points[np.isfinite(points).all(1)]
    if not len(finite):
        return np.ones(points.shape[1])
    front = pareto.unique_front(finite)
    worst = front.max(0)
    corner: Array = worst + REFERENCE_MARGIN * np.maximum(worst - front.min(0), MIN_RANGE * np.abs(worst))
    return np.where(corner > 0, corner, 1.0)  # a cost that is always 0 has a corner of 1
