"""Encodes a plan as a vector from which the sampler predicts the plan's quality.

Each number of the vector means the same at every site and for every gate kind. The vector says where gates stand, how
far apart they are, how much they let pass together, and how strong their parameters are. Cores are left out, because
they change costs and not quality. So an observation counts for all plans with the same gates.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gatesearch.gates import work_of
from gatesearch.graph.sites import find
from gatesearch.plan import GatePlan, PlacedGate, Scalar
from gatesearch.search.slots import Gates, Slot
from gatesearch.search.space import Space

Array = npt.NDArray[np.float64]
MIN_SHARE = 0.01  # share of a tensor or of a layer's work; smaller shares count as this, so their logarithm is finite


class EncodedGates(NamedTuple):
    """The vectors of some gates.

    Args:
        features: the vector of all gates together, [features].
        cut_gates: for each cut gate its own vector, its index, and the sum of all reductions by earlier gates.
    """

    features: list[float]
    cut_gates: list[list[float]]


class PlanEncoder:
    """Encodes the plans of a space.

    Args:
        space: the space of the plans.
    """

    def __init__(self, space: Space) -> None:
        self._cut_sites, self._layer_sites = space.cut_sites, space.layer_sites
        self._layer_macs = max(1, sum(site.macs for site in space.layer_sites))
        self._slots = {gate: slot for slot in space.slots for gate in slot.gates}
        self._features = list(_param_features(space.slots))
        self._is_cut = {gate: slot.is_cut for gate, slot in self._slots.items()}
        self._cache: dict[PlacedGate, tuple[float, ...]] = {}

    @property
    def gate_width(self) -> int:
        """Number of features of a cut gate in a plan, the last two of which depend on the gates before it."""
        return 2 + len(self._features) + 2

    def encode_plan(self, plan: GatePlan) -> Array:
        """Return the vector of a whole plan, [features]."""
        return np.array(self.encode(plan.gates).features)

    def encode(self, gates: Gates) -> EncodedGates:
        """Return the vector of all gates together, and those of the cut gates."""
        # Each row of ``cuts`` is (depth, reduction, parameters ...), each row of ``layers`` (share of MACs, reduction,
        # parameters ...). The rows are tuples, because tuples of a few numbers are several times faster than arrays.
        cuts, layers = [], []
        for gate in gates:
            if self._is_cut[gate]:
                cuts.append(self.encode_cut_gate(gate))
            else:
                layers.append(self._encode_layer_gate(gate))
        depth, reduction = [row[0] for row in cuts], [row[1] for row in cuts]
        distances = [after - before for before, after in pairwise([*depth, 1.0])]
        weight, saved = [row[0] for row in layers], [row[1] for row in layers]
        no_params = (0.0,) * len(self._features)
        # The first six features describe the cut gates: their number, the depth of the first gate, the least distance
        # between neighbours or to the end, the sum and the maximum of their reductions, and the sum of a product. The
        # next three describe the layer gates: the sum of their shares of MACs, the sum of their reductions weighted by
        # these shares, and the maximum of their reductions. The sums of the parameter features of cut gates and of
        # layer gates follow.
        features = [
            float(len(cuts)),
            depth[0] if cuts else 1.0,
            min(distances, default=1.0),
            sum(reduction),
            max(reduction, default=0.0),
            # A reduction near the input harms more, because all later layers lack the removed values. So the product of
            # reduction and distance to the end is a feature, too.
            sum([r * (1 - d) for r, d in zip(reduction, depth, strict=True)]),
            sum(weight),
            sum([w * s for w, s in zip(weight, saved, strict=True)]),
            max(saved, default=0.0),
            *(map(sum, zip(*[row[2:] for row in cuts], strict=True)) if cuts else no_params),
            *(map(sum, zip(*[row[2:] for row in layers], strict=True)) if layers else no_params),
        ]
        before = accumulate(reduction, initial=0.0)
        return EncodedGates(
            features, [[*row, float(k), total] for k, (row, total) in enumerate(zip(cuts, before, strict=False))]
        )

    def encode_cut_gate(self, gate: PlacedGate) -> tuple[float, ...]:
        """Return the vector of one cut gate: its depth, its reduction of the tensor, its parameters."""
        if gate not in self._cache:
            site = find(self._cut_sites, gate.site)
            work = work_of(site, gate)
            depth = site.macs_before / max(1, site.macs_before + site.macs_after)
            share = work.density * work.elements / site.elements
            self._cache[gate] = (depth, _reduction(share), *self._encode_params(gate))
        return self._cache[gate]

    def _encode_layer_gate(self, gate: PlacedGate) -> tuple[float, ...]:
        """Return the vector of one layer gate: its layer's share of MACs, its reduction, its weighted parameters.

        The share is relative to the MACs (multiply-accumulates) of all layer sites, and is the weight of the
        parameters.
        """
        if gate not in self._cache:
            site = find(self._layer_sites, gate.site)
            calls = work_of(site, gate).calls
            share = sum(call.share * call.bits[0] / 8 for call in calls)
            weight = site.macs / self._layer_macs
            self._cache[gate] = (weight, _reduction(share), *(weight * x for x in self._encode_params(gate)))
        return self._cache[gate]

    def _encode_params(self, gate: PlacedGate) -> Iterator[float]:
        values, params = self._slots[gate].values(gate.kind), dict(gate.params)
        for feature in self._features:
            if feature.kind != gate.kind:
                yield 0.0
            elif feature.name is None:
                yield 1.0
            elif feature.value is None:
                yield _strength(params[feature.name], values[feature.name])
            else:
                yield float(params[feature.name] == feature.value)


class _ParamFeature(NamedTuple):
    """One number of a gate's vector that belongs to one gate kind; it is 0 for gates of other kinds.

    Without ``name`` the number is 1 and marks the kind. With ``name`` alone the number is the strength of that
    parameter. With ``name`` and ``value`` the number is 1 where the parameter has that value, else 0.
    """

    kind: str
    name: str | None
    value: Scalar = None


def _param_features(slots: Sequence[Slot]) -> Iterator[_ParamFeature]:
    """Yield the features of all gate kinds: one for each kind, numeric parameter, and value of a text parameter."""
    values: dict[_ParamFeature, dict[Scalar, None]] = {}
    for slot in slots:
        for kind in slot.kinds:
            values.setdefault(_ParamFeature(kind, None), {})
            for name, choices in slot.values(kind).items():
                values.setdefault(_ParamFeature(kind, name), {}).update(dict.fromkeys(choices))
    for feature, all_choices in values.items():
        if all(isinstance(value, int | float) for value in all_choices):
            yield feature
        else:
            yield from (feature._replace(value=value) for value in all_choices)


def _strength(value: Scalar, choices: Sequence[Scalar]) -> float:
    """Return the strength of a value: from 1 for the first choice, which is the strongest, down to 0 for the last."""
    return 1.0 - choices.index(value) / (len(choices) - 1) if len(choices) > 1 else 0.0


def _reduction(share: float) -> float:
    """Return -log of the share that remains, so that the reductions of successive gates add up."""
    return -math.log(min(1.0, max(MIN_SHARE, share)))
