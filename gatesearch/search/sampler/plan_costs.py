"""The expected costs of plans on all their cores, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from gatesearch.plan import GatePlan
from gatesearch.search.slots import Gates
from gatesearch.search.space import Space

Array = npt.NDArray[np.float64]
StageCosts = Callable[[GatePlan], Sequence[Sequence[float]]]


class PlanCosts:
    """Looks up what the costs of plans are made of.

    Args:
        space: of the plans.
        stage_costs: of a plan: first the two costs of every window, then what a window that reaches stage k adds,
            [1 + stages, 2]; infinite where the device cannot run it.
    """

    def __init__(self, space: Space, stage_costs: StageCosts) -> None:
        self._space, self._stage_costs = space, stage_costs
        self._by_gates: dict[Gates, Array] = {}
        self._core_choices: dict[Gates, list[tuple[str, ...]]] = {}

    def core_choices(self, gates: Gates) -> list[tuple[str, ...]]:
        """Return every choice of cores for the stages that gates make."""
        if gates not in self._core_choices:
            self._core_choices[gates] = self._space.core_choices(gates)
        return self._core_choices[gates]

    def core_costs(self, gates: Gates) -> Array:
        """Return the stage costs of these gates for each choice of cores, [choices, 1 + most stages, 2]."""
        if gates not in self._by_gates:
            rows = [np.array(self._stage_costs(GatePlan(gates, cores))) for cores in self.core_choices(gates)]
            padded = np.zeros((len(rows), self._space.max_gates + 2, 2))
            padded[:, : len(rows[0])] = rows
            self._by_gates[gates] = padded
        return self._by_gates[gates]

    def plan_costs(self, plan: GatePlan) -> Array:
        """Return the stage costs of a plan, [1 + most stages, 2]."""
        row: Array = self.core_costs(plan.gates)[self.core_choices(plan.gates).index(plan.cores)]
        return row


def expected_costs(stage_costs: Array, reach: Array) -> Array:
    """Return the expected costs [m, 2], given stage costs [m, 1 + stages, 2] and the share that reaches each stage."""
    with np.errstate(invalid="ignore"):  # 0 * infinity: a stage that cannot run costs infinitely much, reached or not
        added = np.nan_to_num(reach[:, :, None] * stage_costs[:, 1:], nan=np.inf, posinf=np.inf)
    costs: Array = stage_costs[:, 0] + added.sum(1)
    return costs
