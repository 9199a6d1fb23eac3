"""Arrays by which the sampler compares plans: features of gates, choices of cores and clocks, and costs of stages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from gatesearch.devices.profile import Clocks
from gatesearch.plan import GatePlan
from gatesearch.search.sampler.encoding import PlanEncoder
from gatesearch.search.slots import Gates
from gatesearch.search.space import Space

Array = npt.NDArray[np.float64]
StageCosts = Callable[[GatePlan], Sequence[Sequence[float]]]
Placement = tuple[tuple[str, ...], Clocks]  # the core of each stage, and the clocks of cores
MAX_CACHED = 20_000  # combinations in the cache; a long search draws hundreds of thousands


@runtime_checkable
class ManyStageCosts(Protocol):
    """Stage costs that are computed for many plans at once, such as those of a cost model."""

    def price_many(self, combinations: Sequence[Gates], placements: Sequence[Placement]) -> Array:
        """Return the costs of each combination of gates with each placement, [combinations, placements, 1 + stages, 2].

        Args:
            combinations: gates of plans; each combination has the same number of cut gates.
            placements: the cores and clocks of plans.
        """


@dataclass(frozen=True, slots=True, eq=False)
class Combination:
    """A combination of gates, with every plan that has these gates: each choice of cores and clocks.

    Args:
        gates: the gates that the plans have in common.
        features: features of all gates together, [features].
        gate_features: features of each cut gate, [cut gates, gate features].
        placements: the cores and clocks of every plan with these gates.
        stage_costs: latency and energy of each stage of each plan, [plans, 1 + largest number of stages,
            2]; :class:`Combinations` explains the rows.
    """

    gates: Gates
    features: Array
    gate_features: Array
    placements: Sequence[Placement]
    stage_costs: Array

    def plan(self, index: int) -> GatePlan:
        """Return one of the plans with these gates."""
        return GatePlan(self.gates, *self.placements[index])

    @property
    def plans(self) -> list[GatePlan]:
        """Every plan with these gates."""
        return [self.plan(index) for index in range(len(self.placements))]


class Combinations:
    """Builds combinations of gates, and caches all that were tried and the latest of the others.

    Args:
        space: the space of the plans.
        stage_costs: a function that returns the costs of a plan, [1 + stages, 2]. Row 0 holds the latency and the
            energy that every window costs. Row 1 + k holds the costs that a window adds if it reaches stage k; infinite
            if the device cannot run the stage. A function that also is a :class:`ManyStageCosts` is called for many
            plans at once.
    """

    def __init__(self, space: Space, stage_costs: StageCosts) -> None:
        self._space, self._stage_costs, self._encoder = space, stage_costs, PlanEncoder(space)
        self._placements: dict[int, list[Placement]] = {}
        self._cache: dict[Gates, Combination] = {}
        self._observed: dict[Gates, Combination] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_cache": {}, "_observed": {}}

    def lookup(self, gates: Gates) -> Combination:
        """Return the combination of these gates."""
        return self.lookup_many([gates])[0]

    def lookup_many(self, many: Sequence[Gates]) -> list[Combination]:
        """Return the combinations of several tuples of gates; those that are not cached are built together."""
        hits = [self._observed.get(gates) or self._cache.get(gates) for gates in many]
        missing = dict.fromkeys(gates for gates, one in zip(many, hits, strict=True) if one is None)
        if not missing:
            return [one for one in hits if one is not None]
        if len(self._cache) + len(missing) > MAX_CACHED:
            self._cache.clear()
        built = {one.gates: one for one in self._build(list(missing))}
        self._cache |= built
        return [one or built[gates] for gates, one in zip(many, hits, strict=True)]

    def lookup_observed(self, many: Sequence[Gates]) -> list[Combination]:
        """Return the combinations of gates that were tried; they stay cached, because every proposal uses them."""
        combinations = self.lookup_many(many)
        self._observed.update(zip(many, combinations, strict=True))
        return combinations

    def _build(self, many: Sequence[Gates]) -> Iterator[Combination]:
        encoded, width = [self._encoder.encode(gates) for gates in many], self._encoder.gate_width
        by_count: dict[int, list[int]] = {}
        for k, one in enumerate(encoded):
            by_count.setdefault(len(one.cut_gates), []).append(k)
        for count, own in by_count.items():
            placements = self._placements_of(count + 1)
            costs = self._price([many[k] for k in own], placements)
            # Plans differ in their number of stages. Rows of 0 stand for the stages that a plan does not have.
            padded = np.zeros((len(own), len(placements), self._space.max_gates + 2, 2))
            padded[:, :, : costs.shape[2]] = costs
            features = np.array([encoded[k].features for k in own])
            gate_features = np.array([encoded[k].cut_gates for k in own]).reshape(len(own), count, width)
            for i, k in enumerate(own):
                yield Combination(many[k], features[i], gate_features[i], placements, padded[i])

    def _price(self, many: Sequence[Gates], placements: Sequence[Placement]) -> Array:
        """Return the costs of the stages of plans, [combinations, placements, 1 + stages, 2]."""
        if isinstance(self._stage_costs, ManyStageCosts):
            return self._stage_costs.price_many(many, placements)
        return np.array([[self._stage_costs(GatePlan(gates, *place)) for place in placements] for gates in many])

    def _placements_of(self, stages: int) -> list[Placement]:
        if stages not in self._placements:
            self._placements[stages] = self._space.placements(stages)
        return self._placements[stages]


def expected_costs(stage_costs: Array, reach: Array) -> Array:
    """Return the expected costs [m, 2] of m plans.

    Args:
        stage_costs: the costs of the stages, [m, 1 + stages, 2]; see :class:`Combinations`.
        reach: the share of windows that reaches each stage, [m, stages].
    """
    with np.errstate(invalid="ignore"):  # 0 * infinity: a stage that cannot run has infinite cost even if never reached
        added = np.nan_to_num(reach[:, :, None] * stage_costs[:, 1:], nan=np.inf, posinf=np.inf)
    costs: Array = stage_costs[:, 0] + added.sum(1)
    return costs
