"""The first plans of a search: no gates, one gate at a cut site, or one kind of gate in all fitting layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

from gatesearch.plan import GatePlan, Scalar
from gatesearch.search.slots import Gates
from gatesearch.search.space import Space


def simplest_gates(space: Space) -> list[Gates]:
    """Return the gates of the simplest plans, which tell most about each site.

    The simplest plans have no gates, one gate at a cut site, or one kind of gate in all layers where it fits. Every
    gate has its gentlest parameters. A sampler without such plans spends its first dozen trials on plans of about three
    gates. Short trainings hardly recover the accuracy that three gates cost.
    """
    simplest: list[Gates] = []
    if space.min_gates == 0:
        simplest.append(())
    if space.min_gates <= 1 <= space.max_gates:
        simplest += [slot.gentlest(slot.kinds[0]) for slot in space.cut_slots]
    if space.min_gates == 0:
        layer_kinds = dict.fromkeys(chain.from_iterable(slot.kinds for slot in space.layer_slots))
        simplest += [_everywhere(space, kind) for kind in layer_kinds]
    return simplest


def opening_gates(space: Space) -> list[Gates]:
    """Return the initial gates for GateSampler: those of :func:`simplest_gates` that have no cut gate.

    GateSampler makes predictions as soon as two plans were tried, so it needs few initial gates. With these, it reaches
    95 % of the hypervolume after 8.5 evaluations on synthetic tables (median). If it first tries a gate at every site,
    it needs 12 evaluations. As long as no plan keeps the constraints, GateSampler proposes the rest of
    :func:`simplest_gates` by itself.
    """
    simplest = simplest_gates(space)
    without_cuts = [gates for gates in simplest if not any(slot.choice_in(gates) for slot in space.cut_slots)]
    return without_cuts or simplest[:1]


def initial_params(space: Space, cost: Callable[[GatePlan], float], gates: Sequence[Gates]) -> list[dict[str, Scalar]]:
    """Return the parameters of the first proposals, one dictionary for each.

    Args:
        space: the space of plans.
        cost: a function that returns the cost of a plan before training; infinite if the device cannot run the plan.
        gates: the gates of each proposal; the proposal runs them on the cores where they cost least.
    """
    return [space.describe(cheapest_plan(space, choice, cost)) for choice in gates]


def cheapest_plan(space: Space, gates: Gates, cost: Callable[[GatePlan], float]) -> GatePlan:
    """Return the plan that has these gates, on the cores and at the clocks where they cost least."""
    return min(space.plans_for(gates), key=cost)


def _everywhere(space: Space, kind: str) -> Gates:
    slots = [slot for slot in space.layer_slots if kind in slot.kinds]
    return tuple(chain.from_iterable(slot.gentlest(kind) for slot in slots))
