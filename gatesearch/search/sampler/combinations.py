"""The gates and cores of plans as arrays: features for the surrogate, choices of cores, and costs."""

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
MAX_CACHED = 20_000  # combinations; a long search draws hundreds of thousands


@dataclass(frozen=True, slots=True, eq=False)
class Combination:
    """A combination of gates: the plans of it differ in their cores alone.

    Args:
        gates: the gates of the plans.
        features: vector of the plan, [features].
        gate_features: vector of each gate at a cut site, [gates, gate features].
        cores: every choice of cores for the stages.
        stage_costs: costs of each choice of cores, [choices, 1 + most stages, 2]; see :class:`Combinations`.
    """

    gates: Gates
    features: Array
    gate_features: Array
    cores: Sequence[tuple[str, ...]]
    stage_costs: Array


class Combinations:
    """Looks up combinations of gates, and remembers the latest of them.

    Args:
        space: the space of the plans.
        stage_costs: of a plan: first the two costs of every window, then what a window that reaches stage k adds,
            [1 + stages, 2]; infinite where the device cannot run it.
    """

    def __init__(self, space: Space, stage_costs: StageCosts) -> None:
        self._space, self._stage_costs, self._encoder = space, stage_costs, PlanEncoder(space)
        self._cache: dict[Gates, Combination] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_cache": {}}

    @property
    def gate_width(self) -> int:
        """How many numbers describe a gate at a cut site."""
        return self._encoder.gate_width + 2

    def lookup(self, gates: Gates) -> Combination:
        """Return the combination of these gates."""
        combination = self._cache.get(gates)
        if combination is None:
            if len(self._cache) >= MAX_CACHED:
                self._cache.clear()
            combination = self._cache[gates] = self._build(gates)
        return combination

    def _build(self, gates: Gates) -> Combination:
        cores = self._space.core_choices(gates)
        rows = [np.array(self._stage_costs(GatePlan(gates, choice))) for choice in cores]
        padded = np.zeros((len(rows), self._space.max_gates + 2, 2))
        padded[:, : len(rows[0])] = rows
        return Combination(
            gates=gates,
            features=self._encoder.encode_plan(GatePlan(gates)),
            gate_features=self._encode_gates(gates),
            cores=cores,
            stage_costs=padded,
        )

    def _encode_gates(self, gates: Gates) -> Array:
        """Return the vector of each gate at a cut site, with its position and the reduction by the gates before it."""
        rows, reduction = [], 0.0
        for k, gate in enumerate(cut_gates(GatePlan(gates))):
            row = self._encoder.encode_cut_gate(gate)
            rows.append([*row, k, reduction])
            reduction += row[1]
        return np.array(rows, dtype=float).reshape(len(rows), self.gate_width)


def expected_costs(stage_costs: Array, reach: Array) -> Array:
    """Return the expected costs [m, 2], given stage costs [m, 1 + stages, 2] and the share that reaches each stage."""
    with np.errstate(invalid="ignore"):  # 0 * infinity: a stage that cannot run costs infinitely much, reached or not
        added = np.nan_to_num(reach[:, :, None] * stage_costs[:, 1:], nan=np.inf, posinf=np.inf)
    costs: Array = stage_costs[:, 0] + added.sum(1)
    return costs
