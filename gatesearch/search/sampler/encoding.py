"""What a plan looks like to a surrogate: numbers that mean the same at every site and for every kind of gate.

Where gates stand, how far apart, how much they let through together, how hard they are turned. Numeric parameters are
counted by their place among the choices, which go from strong to gentle. Cores are left out: they cost, and decide
nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gatesearch.gates import cut_gates, fits, layer_gates, work_of
from gatesearch.graph.sites import CutSite, LayerSite, Site, find
from gatesearch.plan import GatePlan, PlacedGate, Scalar
from gatesearch.search.space import Space

Array = npt.NDArray[np.float64]
LEAST_SHARE = 0.01


class Features:
    """Turns the plans of a space into numbers.

    Args:
        space: whose plans.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._layer_macs = max(1, sum(site.macs for site in space.layers.sites))
        self._knobs = list(_knobs(space))
        self._gates: dict[PlacedGate, Array] = {}

    @property
    def gate(self) -> int:
        """How many numbers describe a gate."""
        return 2 + len(self._knobs)

    def of_plan(self, plan: GatePlan) -> Array:
        """Return what describes a whole plan, [features]."""
        cuts = np.array([self.of_gate(gate) for gate in cut_gates(plan)]).reshape(-1, self.gate)
        depth, thinned = cuts[:, 0], cuts[:, 1]
        apart = [after - before for before, after in pairwise([*depth, 1.0])]
        layers = np.array([self._of_layer(gate) for gate in layer_gates(plan)]).reshape(-1, self.gate)
        weight, left_out = layers[:, 0], layers[:, 1]
        return np.array(
            [
                len(cuts),
                depth[0] if len(cuts) else 1.0,
                min(apart, default=1.0),
                thinned.sum(),
                thinned.max(initial=0.0),
                (thinned * (1 - depth)).sum(),
                weight.sum(),
                (weight * left_out).sum(),
                left_out.max(initial=0.0),
                *cuts[:, 2:].sum(0),
                *(weight[:, None] * layers[:, 2:]).sum(0),
            ]
        )

    def of_gate(self, gate: PlacedGate) -> Array:
        """Return what describes one gate at a cut site: how deep, how much it thins out, how it is turned."""
        if gate not in self._gates:
            site = find(self._space.sites, gate.site)
            work = work_of(site, gate)
            depth = site.macs_before / max(1, site.macs_before + site.macs_after)
            share = work.density * work.elements / site.elements
            self._gates[gate] = np.array([depth, _thinning(share), *self._turned(gate, site)])
        return self._gates[gate]

    def _of_layer(self, gate: PlacedGate) -> Array:
        if gate not in self._gates:
            site = find(self._space.layers.sites, gate.site)
            calls = work_of(site, gate).calls
            left = sum(call.share * call.bits[0] / 8 for call in calls)
            self._gates[gate] = np.array([site.macs / self._layer_macs, _thinning(left), *self._turned(gate, site)])
        return self._gates[gate]

    def _turned(self, gate: PlacedGate, site: Site) -> Iterator[float]:
        choices, params = self._choices(gate.kind, site), dict(gate.params)
        for knob in self._knobs:
            if knob.kind != gate.kind:
                yield 0.0
            elif knob.name is None:
                yield 1.0
            elif knob.value is None:
                yield _strength(params[knob.name], choices[knob.name])
            else:
                yield float(params[knob.name] == knob.value)

    def _choices(self, kind: str, site: Site) -> Mapping[str, Sequence[Scalar]]:
        if isinstance(site, LayerSite):
            return self._space.layers.choices(kind, site)
        assert isinstance(site, CutSite)
        return self._space.choices(kind, site)


class _Knob(NamedTuple):
    """One number of a gate: of a kind, whether it is there at all, how hard it is turned, or whether it has a value."""

    kind: str
    name: str | None
    value: Scalar = None


def _knobs(space: Space) -> Iterator[_Knob]:
    able = [(kind, site) for kind in space.kinds for site in space.sites if fits(kind, site)]
    offered = [(kind, space.choices(kind, site)) for kind, site in able]
    inside = [(kind, site) for kind in space.layers.kinds for site in space.layers.sites if fits(kind, site)]
    offered += [(kind, space.layers.choices(kind, site)) for kind, site in inside]
    values: dict[_Knob, dict[Scalar, None]] = {}
    for kind, choices in offered:
        values.setdefault(_Knob(kind, None), {})
        for name, choice in choices.items():
            values.setdefault(_Knob(kind, name), {}).update(dict.fromkeys(choice))
    for knob, found in values.items():
        if all(isinstance(value, int | float) for value in found):
            yield knob
        else:
            yield from (knob._replace(value=value) for value in found)


def _strength(value: Scalar, choices: Sequence[Scalar]) -> float:
    return 1.0 - choices.index(value) / (len(choices) - 1) if len(choices) > 1 else 0.0


def _thinning(share: float) -> float:
    return -math.log(min(1.0, max(LEAST_SHARE, share)))
