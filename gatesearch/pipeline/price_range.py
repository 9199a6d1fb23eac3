"""Prices the plans of a space before any training: the cheapest plan, the ungated plan and the dearest plan."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gatesearch.cost.model import CostModel
from gatesearch.cost.price import Price
from gatesearch.devices.profile import list_constants
from gatesearch.metrics.streams import STEADY
from gatesearch.pipeline.constraints import is_affordable
from gatesearch.pipeline.problem import Problem
from gatesearch.plan import GatePlan, Scalar
from gatesearch.search.space import Space

MAX_PLANS = 500  # largest number of plans that are priced; of a larger space, plans are drawn


@dataclass(frozen=True)
class PlanPrice:
    """The price of a plan before training, per window or, on a stream, per hop.

    Args:
        digest: the digest of the plan.
        gates: the gates and cores of the plan, in words.
        energy_uj: the energy [uJ], with the constants of the device.
        latency_us: the mean time [us].
        memory_bytes: the bytes of ``"flash"`` and of ``"sram"`` that the plan takes, by core; derived from the shapes
            of its programs.
        time_provenance: the provenance of the times of the plan's stages.
    """

    digest: str
    gates: str
    energy_uj: float
    latency_us: float
    memory_bytes: Mapping[str, Mapping[str, float]]
    time_provenance: tuple[str, ...]


@dataclass(frozen=True)
class PriceRange:
    """The range of prices in a space.

    Args:
        priced: number of plans that were priced.
        affordable: number of priced plans that keep the constraints on price.
        cheapest: the plan with the least energy while its gates stop all negatives; on a stream, all windows.
        ungated: the plan without gates that needs the least energy.
        dearest: the plan with the most energy while every window passes its gates.
        constants: number of the device's constants, by provenance.
    """

    priced: int
    affordable: int
    cheapest: PlanPrice
    ungated: PlanPrice
    dearest: PlanPrice
    constants: Mapping[str, int]


def price_range(problem: Problem, cost: CostModel) -> tuple[PriceRange, list[GatePlan]]:
    """Return the range of prices of the plans that keep the constraints on price, and these plans."""
    plans = list(draw_plans(problem.space, problem.recipe.seed))
    affordable = [plan for plan in plans if is_affordable(problem.recipe, cost, plan)] or plans
    bounds = [(plan, cost.bound(plan)) for plan in affordable]
    opened = [(plan, _price_open(cost, plan)) for plan in affordable]
    prices = PriceRange(
        priced=len(plans),
        affordable=len(affordable),
        cheapest=_describe(cost, *min(bounds, key=_energy_uj)),
        ungated=_describe(cost, *cost.ungated()),
        dearest=_describe(cost, *max(opened, key=_energy_uj)),
        constants=dict(Counter(constant.provenance for _, constant in list_constants(problem.device))),
    )
    return prices, affordable


def draw_plans(space: Space, seed: int) -> Iterator[GatePlan]:
    """Yield all plans of a space, or :data:`MAX_PLANS` different plans of a larger space, drawn at random."""
    if len(space) <= MAX_PLANS:
        yield from space.plans()
        return
    draw, drawn = _DrawnTrial(seed), set[GatePlan]()
    while len(drawn) < MAX_PLANS:
        plan = space.propose(draw)
        if plan not in drawn:
            drawn.add(plan)
            yield plan


class _DrawnTrial:
    """A trial that draws each parameter at random."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar:
        return self._dice.choice(choices)


def _price_open(cost: CostModel, plan: GatePlan) -> Price:
    """Return the price of a plan if every window passes every gate."""
    return cost.price_stream(plan, [STEADY] * (1 + len(plan.cores)))


def _energy_uj(pair: tuple[GatePlan, Price]) -> float:
    return pair[1].energy.total_uj


def _describe(cost: CostModel, plan: GatePlan, price: Price) -> PlanPrice:
    return PlanPrice(
        digest=plan.digest,
        gates=str(plan),
        energy_uj=price.energy.total_uj,
        latency_us=price.expected_latency_us,
        memory_bytes=cost.memory_bytes(plan),
        time_provenance=tuple(sorted({estimate.provenance for estimate in cost.stages(plan)})),
    )
