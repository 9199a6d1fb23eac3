"""What gates in the place of layers change in the cost of a stage.

A layer's dense int8 time on a core is a reading of the table. What is left of it depends on the core: only one that
can skip what a gate leaves out, and only one whose multiplications get cheaper with fewer bits, has anything of them.
On a core that computes in bytes, an 8-bit layer split in 4 and 4 bits is two layers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gatesearch.cost.kernel_costs import KernelCosts
from gatesearch.devices.profile import Core, Kernels
from gatesearch.gates import Call, KernelCall, LayerWork, work_of
from gatesearch.gates.cells import BITS, cells
from gatesearch.graph.sites import LayerSite, find
from gatesearch.kernels import layer_kernel
from gatesearch.plan import PlacedGate

STEPWISE = ("lstm", "gru")  # many small operators a window
DENSE = LayerWork(calls=(), macs=0.0, params=0, density=1.0)


@dataclass(frozen=True, slots=True)
class LayerChange:
    """One layer of a plan that does not cost what it does alone and dense.

    Args:
        site: where.
        work: what its gate leaves; None where it has none and only reads less.
        read: what of its input channels is there: the names that a core must be able to skip, and the share left.
    """

    site: LayerSite
    work: LayerWork | None
    read: tuple[tuple[str, float], ...]

    @property
    def kernels(self) -> tuple[KernelCall, ...]:
        """The runs of kernels that do the layer's work, each told how much of its input is there."""
        if self.work is None:
            return ()
        return tuple(call._replace(left=(*call.left, ("inputs", self._read_by(call)))) for call in self.work.kernels)

    def reading(self, dense: float, core: Core, costs: KernelCosts | None) -> float:
        """Return what the layer takes on a core.

        Args:
            dense: what it takes in int8 without a gate.
            core: where.
            costs: of the core's kernels, as far as they were read; the rest is worked out by :meth:`cost`.
        """
        found = self.by_kernels(costs)
        if found is not None:
            return found
        share = self.cost(core.kernels)
        # By LiteRT a step takes what its operators do, and a product in factors is more of them: low rank at a quarter
        # of the multiplications took 195 microseconds where the dense layer took 146.
        return dense * (max(1.0, share) if core.runs_kernels and self.work and self.site.op in STEPWISE else share)

    def by_kernels(self, costs: KernelCosts | None) -> float | None:
        """Return what its kernels take by a core's costs; None where one of them was not read, or there is none."""
        found = [None if costs is None else costs.reading(call) for call in self.kernels]
        known = [reading for reading in found if reading is not None]
        return sum(known) if found and len(known) == len(found) else None

    def cost(self, kernels: Kernels) -> float:
        """Return the time on a core over that of the dense layer in int8, the gate's own parts counted at its rate."""
        if self.work is None:
            return kernels.cost((8, 8), self.read)
        calls = sum(call.size * kernels.cost(call.bits, (*call.left, *self.read)) for call in self.work.calls)
        return calls + self.work.macs / self.site.macs

    def _read_by(self, call: KernelCall) -> float:
        skips = layer_kernel(call.kernel).skips
        return math.prod((share for name, share in self.read if name in skips), start=1.0)

    @property
    def read_share(self) -> float:
        """Share of the input channels that is there."""
        return math.prod((share for _, share in self.read), start=1.0)

    @property
    def saved_macs(self) -> float:
        """Change in multiply-accumulates, as papers count them: all is skipped, and b bits of 8 count b / 8."""
        if self.work is None:
            return self.site.macs * (self.read_share - 1)
        left = sum(call.share * call.bits[0] / 8 for call in self.work.calls)
        return self.site.macs * (self.read_share * left - 1) + self.work.macs

    @property
    def params(self) -> float:
        """Parameters that the gate adds, less those of the layer that it does without."""
        if self.work is None:
            return 0
        return self.work.params - self.site.params * (1 - self.work.stored)


def layer_changes(
    gates: Sequence[PlacedGate], layers: Sequence[LayerSite], observed: Mapping[str, Mapping[str, float]]
) -> dict[str, LayerChange]:
    """Return every layer that changes, by site: those with a gate, and those that read less because of one.

    Args:
        gates: of the plan, at layer sites.
        layers: every layer site of the backbone.
        observed: reports of the gates, by site; a site without one is taken at the least that its parameters allow.
    """
    work = {gate.site: work_of(find(layers, gate.site), gate, observed.get(gate.site)) for gate in gates}
    changes = {}
    for site in layers:
        before = work.get(site.source or "", DENSE)
        read = tuple((call, before.density) for call in _channel_skips(before)) if before.density < 1 else ()
        if site.name in work or read:
            changes[site.name] = LayerChange(site, work.get(site.name), read)
    return changes


def dense_by_kernel(site: LayerSite) -> LayerChange:
    """Return a recurrent layer without a gate as a core has it that runs kernels: those of gated ones, all rows dense.

    A gate does not make the difference between an interpreter's hundreds of operators and a loop in C.
    """
    calls = (
        KernelCall(site.op, (site.shape_in[0], cell.columns[0], cell.rows), (("parts", 0),), (("rich", 1.0),))
        for cell in cells(site)
    )
    return LayerChange(site, LayerWork(calls=(Call(BITS),), macs=0.0, params=0, density=1.0, kernels=tuple(calls)), ())


def _channel_skips(work: LayerWork) -> list[str]:
    """Return the name under which the layer behind can skip what a layer's gate suppressed."""
    return [name for name, _ in work.calls[0].left if name.startswith("channel")]
