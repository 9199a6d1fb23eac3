"""Arrays by which the sampler compares plans: features of gates, choices of cores and clocks, and costs of stages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gatesearch.gates import cut_gates
from gatesearch.plan import GatePlan
from gatesearch.search.sampler.encoding import PlanEncoder
from gatesearch.search.slots import Gates
from gatesearch.search.space import Space

Array = npt.NDArray[np.float64]
StageCosts = Callable[[GatePlan], Sequence[Sequence[float]]]
MAX_CACHED = 20_000  # combinations in the cache; a long search draws hundreds of thousands


@dataclass(frozen=True, slots=True, eq=False)
class Combination:
    """A combination of gates, with every plan that has these gates: each choice of cores and clocks.

    Args:
        gates: the gates that the plans have in common.
        features: features of all gates together, [features].
        gate_features: features of each cut gate, [cut gates, gate features].
        plans: every plan with these gates.
        stage_costs: latency and energy of each stage of each plan, [plans, 1 + largest number of stages,
            2]; :class:`Combinations` explains the rows.
    """

    gates: Gates
    features: Array
    gate_features: Array
    plans: Sequence[GatePlan]
    stage_costs: Array


class Combinations:
    """Builds combinations of gates, and caches all that were tried and the latest of the others.

    Args:
        space: the space of the plans.
        stage_costs: a function that returns the costs of a plan, [1 + stages, 2]. Row 0 holds the latency and the
            energy that every window costs. Row 1 + k holds the costs that a window adds if it reaches stage k; infinite
            if the device cannot run the stage.
    """

    def __init__(self, space: Space, stage_costs: StageCosts) -> None:
        self._space, self._stage_costs, self._encoder = space, stage_costs, PlanEncoder(space)
        self._cache: dict[Gates, Combination] = {}
        self._observed: dict[Gates, Combination] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_cache": {}, "_observed": {}}

    @property
    def gate_width(self) -> int:
        """Number of features of a cut gate."""
        return self._encoder.gate_width + 2

    def lookup(self, gates: Gates) -> Combination:
        """Return the combination of these gates."""
        combination = self._observed.get(gates) or self._cache.get(gates)
        if combination is None:
            if len(self._cache) >= MAX_CACHED:
                self._cache.clear()
            combination = self._cache[gates] = self._build(gates)
        return combination

    def lookup_observed(self, gates: Gates) -> Combination:
        """Return the combination of gates that were tried; it stays cached, because every proposal uses it."""
        combination = self._observed.get(gates)
        if combination is None:
            combination = self._observed[gates] = self.lookup(gates)
        return combination

    def _build(self, gates: Gates) -> Combination:
        plans = self._space.plans_for(gates)
        rows = np.array([self._stage_costs(plan) for plan in plans])
        # Plans differ in their number of stages. Rows of 0 stand for the stages that a plan does not have.
        padded = np.zeros((len(rows), self._space.max_gates + 2, 2))
        padded[:, : rows.shape[1]] = rows
        return Combination(
            gates=gates,
            features=self._encoder.encode_plan(GatePlan(gates)),
            gate_features=self._encode_gates(gates),
            plans=plans,
            stage_costs=padded,
        )

    def _encode_gates(self, gates: Gates) -> Array:
        """Return the features of each cut gate: its own, its index, and the sum of all reductions by earlier gates."""
        rows, reduction = [], 0.0
        for k, gate in enumerate(cut_gates(GatePlan(gates))):
            row = self._encoder.encode_cut_gate(gate)
            rows.append([*row, k, reduction])
            reduction += row[1]
        return np.array(rows, dtype=float).reshape(len(rows), self.gate_width)


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
