"""The basis of each gate's price on each core: measured or counted kernels, or figures of the profile.

``gatesearch measure`` prints these bases. :data:`REASONS` lists the reasons why a price is not based on a kernel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gatesearch.compile.number_format import FLOAT, arithmetic
from gatesearch.cost.kernel_costs import KernelCosts
from gatesearch.cost.layers import LayerChange
from gatesearch.cost.sources import board
from gatesearch.devices.engine import ENGINES
from gatesearch.devices.profile import Core, Device
from gatesearch.gates import work_of
from gatesearch.graph.sites import CutSite, LayerSite, find
from gatesearch.plan import PlacedGate

# The reasons why no kernel prices a gate on a core, by a short name.
REASONS: Mapping[str, str] = {
    "int8 only": "gated layers compute in float, and the core takes int8 programs alone: no such plan is proposed",
    "masks": "the core's engine computes gated layers in full and masks them",
    "imagined": "the core is hypothetical: its rate and the work that it skips come from the profile, not a reading",
    "not counted": "the core's table does not have the kernel: the profile says which work it skips",
    "no compiler": "this host has no C compiler: the reference computes the whole layer",
    "wide": "no kernel supports these bit widths: the reference computes the whole layer",
    "no kernel": "no kernel supports this layer: the reference computes the whole layer",
}


@dataclass(frozen=True, slots=True)
class Basis:
    """The basis of a price.

    Args:
        what: the kind of figures behind the price: ``"kernels"`` of gated layers, ``"programs"`` timed on this host,
            ``"calls"`` of kernels in a table, ``"cycles"`` of Vela, a ``"rate"`` of the profile, a ``"reference"`` that
            computes everything, or ``"nothing"``.
        provenance: the provenance of the basis.
        reason: a name in :data:`REASONS` that says why no kernel prices the gate; else empty.
    """

    what: str
    provenance: str
    reason: str = ""

    @property
    def measured(self) -> bool:
        """Whether the gate's own work was timed or counted, and not derived from one figure for all work."""
        return self.what in ("kernels", "programs", "calls", "cycles")


# The basis of programs of plain layers and of gates' heads, by the model of a core's timing.
PROGRAMS: Mapping[str, str] = {"litert": "programs", "vela": "cycles", "throughput": "rate"}


def cut_basis(core: Core) -> Basis:
    """Return the basis of a gate at a cut: its head and exits are priced like the blocks around it."""
    counted = board.table_of(core) is not None
    what = "calls" if counted else PROGRAMS.get(core.timing.model, "rate")
    return Basis(what, core.provenance, "imagined" if what == "rate" else "")


def layer_basis(core: Core, site: LayerSite, gate: PlacedGate, costs: KernelCosts | None) -> Basis:
    """Return the basis of a gate at a layer.

    Args:
        core: the core that runs the layer.
        site: the site of the layer.
        gate: the gate with its parameters.
        costs: the costs of the core's kernels, from the latency table of the search or from the core's kernel table.
    """
    if arithmetic(FLOAT, core) == "float32" and not core.runs_float:
        return Basis("nothing", core.timing.provenance, "int8 only")
    change = LayerChange(site, work_of(site, gate), ())
    if costs is not None and change.by_kernels(costs) is not None:
        return Basis("kernels", costs.provenance)
    if not core.runs_kernels and not ENGINES[core.engine].skips:
        return Basis("reference", "modelled", "masks")
    if not core.runs_kernels and board.table_of(core) is None:
        return Basis("rate", core.kernels.provenance, "imagined")
    if change.kernels:
        return Basis("reference", "modelled", "no compiler" if core.runs_kernels else "not counted")
    bits = any(name.endswith("bits") for name, _ in gate.params)
    return Basis("reference", "modelled", "wide" if bits else "no kernel")


def layer_bases(
    device: Device,
    layers: Sequence[LayerSite],
    gates: Iterable[PlacedGate],
    costs: Mapping[str, KernelCosts],
) -> Iterator[tuple[str, str, Basis, int]]:
    """Yield, for layer gates, a core, a gate kind, a basis, and the number of gates with this core, kind and basis."""
    layer_gates = list(gates)
    for core in device.cores:
        counts = Counter(
            (gate.kind, layer_basis(core, find(layers, gate.site), gate, costs.get(core.name))) for gate in layer_gates
        )
        for (kind, basis), count in counts.items():
            yield core.name, kind, basis, count


def cut_bases(
    device: Device, variants: Sequence[PlacedGate], sites: Sequence[CutSite]
) -> Iterator[tuple[str, str, Basis, int]]:
    """Yield, for cut gates, a core, a gate kind, the basis of this kind on this core, and the number of cut sites."""
    for core in device.cores:
        for kind in dict.fromkeys(gate.kind for gate in variants):
            yield core.name, kind, cut_basis(core), len(sites)
