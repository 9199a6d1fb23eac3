"""Prices plans over a stream: for the calibration of gates, and from the measured activities of a model.

The activity of a stage is the share of hops at which it runs, and the share of hops at which its gate opens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from gatesearch.cost.model import CostModel
from gatesearch.cost.price import Price
from gatesearch.cost.sensitivity import MeasuredPlan
from gatesearch.gates import cut_gates
from gatesearch.metrics.streams import STEADY, Activity
from gatesearch.pipeline.problem import Problem
from gatesearch.plan import GatePlan
from gatesearch.runtime.chain import ChainSettings
from gatesearch.training import Figures, Operation
from gatesearch.training.goals.detection_quality import DetectionQuality

CLOSED = Activity(open_share=0.0, openings=0.0)
# A network by hops has one or more phases: states that take turns from hop to hop. A price limits the product
# phases x openings to open_share. With at most 8 phases, 1/16 stays below this limit.
OPENS_OFTEN = Activity(open_share=1.0, openings=1 / 16)


def price_figures(cost: CostModel, plan: GatePlan, figures: Figures, densities: Sequence[float] | None = None) -> Price:
    """Return the price of a plan at the measured activities of its stages; without a stream, at its pass rates.

    Args:
        cost: the cost model.
        plan: the plan.
        figures: the figures of its model.
        densities: see :meth:`CostModel.stages`.
    """
    if isinstance(figures, DetectionQuality):
        return cost.price_stream(plan, figures.activities, densities, figures.layers, signal_statistic(figures.chain))
    return cost.price(plan, figures.passed, densities, figures.layers)


def measured_plan(plan: GatePlan, figures: Figures, densities: Sequence[float]) -> MeasuredPlan:
    """Return a plan with the measurements that its price needs when constants of the device change."""
    if isinstance(figures, DetectionQuality):
        signal = signal_statistic(figures.chain)
        return MeasuredPlan(plan, figures.passed, densities, figures.layers, figures.activities, signal)
    return MeasuredPlan(plan, figures.passed, densities, figures.layers)


def price_ungated(cost: CostModel, figures: Figures) -> Price:
    """Return the price of the ungated backbone; over a stream, it runs at every hop."""
    plan, price = cost.ungated()
    return cost.price_stream(plan, (STEADY, STEADY)) if isinstance(figures, DetectionQuality) else price


def stream_details(figures: Figures, doubt: str | None) -> dict[str, Any]:
    """Return the values that a trial stores for its price over a stream; empty without a stream."""
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
    """Return the target for which the gates of a plan are calibrated together on a stream; None without a stream.

    Args:
        problem: the run's problem.
        cost: the cost model.
        plan: the plan whose price the target contains.
        reference: quality of the ungated backbone that was trained in the same way.
    """
    if problem.features.validation.stream is None:
        return None
    limits = problem.recipe.constraints
    return Operation(
        price=linear_price(cost, plan),
        reference=reference,
        max_miss_rise=limits.max_miss_rise or 0.0,
        min_gate_recall=limits.min_gate_recall or 0.0,
        signal_prices=price_signal_gates(cost.at_clocks(plan.clocks)),
    )


def signal_statistic(chain: ChainSettings) -> str | None:
    """Return the statistic of the gate before the front end; None without such a gate."""
    return None if chain.signal is None else chain.signal.statistic


def price_signal_gates(cost: CostModel) -> dict[str, float]:
    """Return the energy per hop [uJ] of each gate that can stand before the front end, by statistic."""
    return {statistic: cost.signal_gate_uj(statistic) for statistic in cost.signal_forms}


def linear_price(cost: CostModel, plan: GatePlan) -> Callable[[Sequence[Activity]], float]:
    """Return a fast function from the activities of a plan's front end and stages to the energy of a hop [uJ].

    A part is the front end or a stage. The energy is linear in open shares and openings as long as no part runs more
    often than the part before it. So the prices at the corners of this range determine the function. At a corner, the
    first parts run at every hop and the others never. In a second set of corners, the last running part also opens.
    """
    parts = len(cut_gates(plan)) + 2

    def price(activities: Sequence[Activity]) -> float:
        return cost.price_stream(plan, activities).energy.total_uj

    def corner(steady: int, *rest: Activity) -> float:
        activities = [STEADY] * steady + list(rest)
        return price(activities + [CLOSED] * (parts - len(activities)))

    corners = [corner(k) for k in range(parts + 1)]
    hops = [after - before for before, after in pairwise(corners)]
    catch_ups = [(corner(k, OPENS_OFTEN) - corners[k + 1]) / OPENS_OFTEN.openings for k in range(parts)]

    def linear(activities: Sequence[Activity]) -> float:
        rows = zip(activities, hops, catch_ups, strict=True)
        return corners[0] + sum(each.open_share * hop + each.openings * catch_up for each, hop, catch_up in rows)

    return linear
