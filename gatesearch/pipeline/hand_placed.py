"""Places one gate by a simple rule, as an engineer might do by hand, for comparison with the searched plan.

The gate has the recipe's first gate kind and default parameters. It stands behind the third block.
"""

from __future__ import annotations

from gatesearch.cost.model import CostModel
from gatesearch.errors import UserError
from gatesearch.gates import kind_of
from gatesearch.graph.sites import INPUT
from gatesearch.pipeline.problem import Problem
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.search.slots import Slot

BLOCK = 3  # number of the block behind which the gate stands


def place_by_hand(problem: Problem, cost: CostModel) -> list[GatePlan]:
    """Return the plan on each choice of cores and clocks that can run it, or on every choice if none can.

    The gate stands at the site of the search space nearest to the end of the third block. If the space does not contain
    the default of a parameter, the gate has another value of the space, because the latency table has no other values.

    Raises:
        UserError: the space has no gate kind for cut sites.
    """
    slot, kind = _choose_slot(problem)
    gates = (_default_gate(slot, kind),)
    plans = problem.space.plans_for(gates)
    return [plan for plan in plans if not cost.violations(plan)] or plans


def _choose_slot(problem: Problem) -> tuple[Slot, str]:
    """Return the slot for the gate, and the first kind of the recipe that fits some cut site."""
    order = [site.name for site in problem.sites]
    blocks = [k for k, name in enumerate(order) if name != INPUT]
    target = blocks[min(BLOCK, len(blocks)) - 1] if blocks else 0
    for kind in problem.recipe.space.kinds:
        slots = [slot for slot in problem.space.cut_slots if kind in slot.kinds]
        if slots:
            return min(slots, key=lambda slot: abs(order.index(slot.sites[0].name) - target)), kind
    raise UserError("no kind of gate in space.kinds stands between layers, so that none can stop a hop")


def _default_gate(slot: Slot, kind: str) -> PlacedGate:
    """Return the gate of the slot whose parameters differ least from the kind's defaults."""
    default = kind_of(kind).Params()
    gates = [gate for gate in slot.gates if gate.kind == kind]
    return min(gates, key=lambda gate: sum(getattr(default, name) != value for name, value in gate.params))
