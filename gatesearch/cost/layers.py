"""Computes how gated layers change the cost of a stage.

The latency table has the time of each dense layer on each core. A dense layer is a layer without a gate. The share of
this time that remains with a gate depends on the core. A gate saves time only on a core that can skip what the gate
leaves out, or whose multiplications are cheaper with fewer bits. On a core that computes in whole bytes, a layer of
8 bits that is split into 4 and 4 bits costs as much as two layers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gatesearch.cost.kernel_costs import InBytes, KernelCosts
from gatesearch.devices.profile import Core, Kernels
from gatesearch.gates import Call, KernelCall, LayerWork, work_of
from gatesearch.gates.cells import BITS, cells
from gatesearch.graph.sites import LayerSite, find
from gatesearch.kernels import layer_kernel
from gatesearch.kernels.gated_u8 import runs_in_bytes
from gatesearch.plan import PlacedGate

DENSE = LayerWork(calls=(), macs=0.0, params=0, density=1.0)


@dataclass(frozen=True, slots=True)
class LayerChange:
    """One layer of a plan whose cost differs from that of the dense layer.

    Args:
        site: the site of the layer.
        work: the work of its gate; None if it has no gate and only has fewer input channels.
        remaining_inputs: the input channels that remain, as pairs of a kind of skip (such as ``"channel"``) and a
            remaining share. A core saves the work of the other channels only if it supports this kind of skip.
        key: a string that identifies the change in caches; None if the change depends on a measured report.
    """

    site: LayerSite
    work: LayerWork | None
    remaining_inputs: tuple[tuple[str, float], ...]
    key: str | None = field(default=None, compare=False)

    @property
    def kernels(self) -> tuple[KernelCall, ...]:
        """The kernel calls that do the layer's work, each with the share of the input channels that it reads."""
        if self.work is None:
            return ()
        return tuple(
            call._replace(remaining=(*call.remaining, ("inputs", self._input_share_of(call))))
            for call in self.work.kernels
        )

    def reading(self, dense: float, core: Core, costs: KernelCosts | None) -> float:
        """Return the reading of the layer on a core.

        Args:
            dense: the layer's measured or estimated cost (*reading*) in int8 without a gate.
            core: the core that runs the layer.
            costs: costs of the core's kernels. If they do not contain the layer's kernels, :meth:`cost` estimates the
                reading.
        """
        by_kernels = self.by_kernels(costs)
        if by_kernels is not None:
            return by_kernels
        share = self.cost(core.gate_kernels)
        if core.runs_kernels and self.work and self.site.is_recurrent:
            # Without a kernel, LiteRT runs each time step operator by operator. A factored matrix has more operators
            # than a dense one. A low-rank layer with a quarter of the multiply-accumulates (MACs) took 195 us, and the
            # dense layer took 146 us.
            share = max(1.0, share)
        return dense * share

    def runs_in_bytes(self, costs: KernelCosts) -> bool:
        """Return whether kernels between bytes do the layer's work, and the costs contain them."""
        possible = runs_between_relus(self.site) and all(map(runs_in_bytes, self.kernels))
        return possible and self.by_kernels(InBytes(costs)) is not None

    def by_kernels(self, costs: KernelCosts | None) -> float | None:
        """Return the sum of the readings of the layer's kernels; None if it has no kernel or the costs lack one."""
        if costs is None or not self.kernels:
            return None
        total = 0.0
        for call in self.kernels:
            reading = costs.reading(call)
            if reading is None:
                return None
            total += reading
        return total

    def cost(self, kernels: Kernels) -> float:
        """Return the time divided by that of the dense int8 layer; the gate's own MACs count at the layer's rate."""
        if self.work is None:
            return kernels.cost((8, 8), self.remaining_inputs)
        calls = sum(
            call.size * kernels.cost(call.bits, (*call.remaining, *self.remaining_inputs)) for call in self.work.calls
        )
        return calls + self.work.macs / self.site.macs

    def _input_share_of(self, call: KernelCall) -> float:
        skips = layer_kernel(call.kernel).skips
        return math.prod((share for name, share in self.remaining_inputs if name in skips), start=1.0)

    @property
    def input_share(self) -> float:
        """Share of the input channels that remains."""
        return math.prod((share for _, share in self.remaining_inputs), start=1.0)

    @property
    def macs_change(self) -> float:
        """Change in multiply-accumulates as papers count them: skipped ones count 0, and one of b bits counts b / 8."""
        if self.work is None:
            return self.site.macs * (self.input_share - 1)
        remaining = sum(call.share * call.bits[0] / 8 for call in self.work.calls)
        return self.site.macs * (self.input_share * remaining - 1) + self.work.macs

    @property
    def params_change(self) -> float:
        """Change in parameters: those that the gate adds, minus those of the layer that need not be stored."""
        if self.work is None:
            return 0
        return self.work.params - self.site.params * (1 - self.work.stored)


def layer_changes(
    gates: Sequence[PlacedGate], layers: Sequence[LayerSite], observed: Mapping[str, Mapping[str, float]]
) -> dict[str, LayerChange]:
    """Return every layer that changes, by site: layers with a gate, and layers that read the output of such a layer.

    Args:
        gates: the plan's gates at layer sites.
        layers: every layer site of the backbone.
        observed: by site, the shares that were measured for a gate (its report). A gate without a report has the least
            work that its parameters allow.
    """
    work = {gate.site: work_of(find(layers, gate.site), gate, observed.get(gate.site)) for gate in gates}
    changes = {site.name: _change(site, work.get(site.name), work.get(site.source or "", DENSE)) for site in layers}
    return {name: change for name, change in changes.items() if change is not None}


class LayerChanges:
    """Finds the changes of layers before training, when each gate has the least work that its parameters allow.

    Changes are cached, because the plans of a search have most of them in common.

    Args:
        layers: every layer site of the backbone.
    """

    def __init__(self, layers: Sequence[LayerSite]) -> None:
        self._layers = layers
        self._indices = {site.name: index for index, site in enumerate(layers)}
        # By site: the indices of the sites whose layers a gate at the site changes.
        self._changed: dict[str, tuple[int, ...]] = {
            name: tuple(k for k, site in enumerate(layers) if name in (site.name, site.source))
            for name in self._indices
        }
        self._gates: dict[PlacedGate, tuple[str, LayerWork]] = {}
        self._changes: dict[tuple[int, str, str], LayerChange | None] = {}

    def find(self, gates: Sequence[PlacedGate]) -> dict[str, LayerChange]:
        """Return the changes that gates at layer sites make; see :func:`layer_changes`."""
        works = {gate.site: self._work_of(gate) for gate in gates}
        changes = {}
        for k in sorted({k for name in works for k in self._changed[name]}):
            site = self._layers[k]
            own, before = works.get(site.name, ("", None)), works.get(site.source or "", ("", DENSE))
            key = k, own[0], before[0]
            if key not in self._changes:
                self._changes[key] = _change(site, own[1], before[1], f"{site.name} {own[0]} {before[0]}")
            change = self._changes[key]
            if change is not None:
                changes[site.name] = change
        return changes

    def _work_of(self, gate: PlacedGate) -> tuple[str, LayerWork]:
        """Return a text that identifies a gate, and the gate's least work."""
        pair = self._gates.get(gate)
        if pair is None:
            pair = self._gates[gate] = f"{gate!r}", work_of(find(self._layers, gate.site), gate)
        return pair


def _change(site: LayerSite, work: LayerWork | None, before: LayerWork, key: str | None = None) -> LayerChange | None:
    """Return the change of a layer; None if nothing changes.

    Args:
        site: the site of the layer.
        work: the work of its gate, if it has one.
        before: the work of the layer whose output it reads.
        key: see :class:`LayerChange`.
    """
    skips = _channel_skips(before) if before.density < 1 else []
    remaining_inputs = tuple((call, before.density) for call in skips)
    return LayerChange(site, work, remaining_inputs, key) if work is not None or remaining_inputs else None


def runs_between_relus(site: LayerSite) -> bool:
    """Return whether a layer is a convolution between two ReLUs; kernels with uint8 input and output need both."""
    return site.op == "conv2d" and site.positive and site.activation is not None


def dense_by_kernel(site: LayerSite) -> LayerChange:
    """Return the change for an ungated recurrent layer if the kernel of gated layers runs it and computes all rows.

    A core that runs kernels runs ungated recurrent layers in this way. If an interpreter ran them, its hundreds of
    operators would make them slower than a loop in C, and a comparison would credit the gate with this difference.
    """
    calls = (
        KernelCall(site.op, (site.shape_in[0], cell.columns[0], cell.rows), (("parts", 0),), (("rich", 1.0),))
        for cell in cells(site)
    )
    work = LayerWork(calls=(Call(BITS),), macs=0.0, params=0, density=1.0, kernels=tuple(calls))
    return LayerChange(site, work, (), key=f"{site.name} dense")


def _channel_skips(work: LayerWork) -> list[str]:
    """Return the kinds of skip by which the next layer can leave out the channels that this layer's gate suppresses."""
    return [name for name, _ in work.calls[0].remaining if name.startswith("channel")]
