"""Prices of plans over a stream: the price that gates are set for, and that of a model's measured activities."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from gatesearch.cost.model import CostModel
from gatesearch.cost.price import Price
from gatesearch.gates import cut_gates
from gatesearch.metrics.streams import STEADY, Activity
from gatesearch.pipeline.problem import Problem
from gatesearch.plan import GatePlan
from gatesearch.runtime.chain import ChainSettings
from gatesearch.training import Figures, Operation
from gatesearch.training.goals.detection_quality import DetectionQuality

CLOSED = Activity(open_share=0.0, openings=0.0)
OPENS_ALWAYS = Activity(open_share=1.0, openings=1.0)


def price_figures(cost: CostModel, plan: GatePlan, figures: Figures, densities: Sequence[float] | None = None) -> Price:
    """Return the price of a plan at the measured activities of its parts; without a stream, at its pass rates.

    Args:
        cost: the cost model.
        plan: the plan.
        figures: the figures of its model.
        densities: see :meth:`CostModel.stages`.
    """
    if isinstance(figures, DetectionQuality):
        return cost.price_stream(plan, figures.activities, densities, figures.layers, signal_statistic(figures.chain))
    return cost.price(plan, figures.passed, densities, figures.layers)


def price_ungated(cost: CostModel, figures: Figures) -> Price:
    """Return the price of the ungated backbone, over a stream with all of its parts steady."""
    plan, price = cost.ungated()
    return cost.price_stream(plan, (STEADY, STEADY)) if isinstance(figures, DetectionQuality) else price


def stream_details(figures: Figures, doubt: str | None) -> dict[str, Any]:
    """Return what a trial stores for a price over a stream; nothing without a stream."""
    if not isinstance(figures, DetectionQuality):
        return {}
    activities = [[each.open_share, each.openings] for each in figures.activities]
    return {"activities": activities, "signal": signal_statistic(figures.chain), "doubt": doubt}


def price_details(cost: CostModel, plan: GatePlan, details: Mapping[str, Any]) -> Price:
    """Return the price of a plan from the details that its trial stored."""
    if "activities" in details:
        activities = [Activity(*row) for row in details["activities"]]
        return cost.price_stream(plan, activities, observed=details["layers"], signal=details.get("signal"))
    return cost.price(plan, details["passed"], observed=details["layers"])


def operation_for(problem: Problem, cost: CostModel, plan: GatePlan, reference: float) -> Operation | None:
    """Return what the gates of a plan are set for on a stream; None without a stream.

    Args:
        problem: the run's problem.
        cost: the cost model.
        plan: the plan, whose price it is.
        reference: quality of the ungated backbone trained alike.
    """
    if problem.features.validation.stream is None:
        return None
    limits = problem.recipe.constraints
    return Operation(
        price=linear_price(cost, plan),
        reference=reference,
        max_miss_rise=limits.max_miss_rise or 0.0,
        min_gate_recall=limits.min_gate_recall or 0.0,
        signal_prices=price_signal_gates(cost),
    )


def signal_statistic(chain: ChainSettings) -> str | None:
    """Return the statistic of the gate before the front end; None without such a gate."""
    return None if chain.signal is None else chain.signal.statistic


def price_signal_gates(cost: CostModel) -> dict[str, float]:
    """Return the energy a hop of each gate that can stand before the front end, uJ, by statistic."""
    return {statistic: cost.signal_gate_uj(statistic) for statistic in cost.signal_forms}


def linear_price(cost: CostModel, plan: GatePlan) -> Callable[[Sequence[Activity]], float]:
    """Return the energy of a plan a hop, uJ, as a fast function of the activities of its front end and stages.

    The energy of a stream is linear in open shares and openings as long as no part runs more often than the one before
    it. So the prices at the corners of that range say it all: the first parts steady and the others closed, and the
    same with openings at every hop of the last one that runs.
    """
    parts = len(cut_gates(plan)) + 2

    def price(activities: Sequence[Activity]) -> float:
        return cost.price_stream(plan, activities).energy.total_uj

    def corner(steady: int, *rest: Activity) -> float:
        activities = [STEADY] * steady + list(rest)
        return price(activities + [CLOSED] * (parts - len(activities)))

    corners = [corner(k) for k in range(parts + 1)]
    hops = [after - before for before, after in pairwise(corners)]
    catch_ups = [corner(k, OPENS_ALWAYS) - corners[k + 1] for k in range(parts)]

    def linear(activities: Sequence[Activity]) -> float:
        rows = zip(activities, hops, catch_ups, strict=True)
        return corners[0] + sum(each.open_share * hop + each.openings * catch_up for each, hop, catch_up in rows)

    return linear
