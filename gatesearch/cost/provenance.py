"""What each gate's price on each core rests on: kernels that were timed or counted, or the profile's own figures.

One place tells it to whoever asks, ``gatesearch measure`` and the tests, and one place names why a price rests on no
kernel: :data:`REASONS`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gatesearch.compile.number_format import FLOAT, arithmetic
from gatesearch.cost.kernel_costs import KernelCosts
from gatesearch.cost.layers import LayerChange
from gatesearch.cost.sources import board
from gatesearch.devices.profile import Core, Device
from gatesearch.gates import work_of
from gatesearch.graph.sites import CutSite, LayerSite, find
from gatesearch.plan import PlacedGate

# Why a gate has no kernel's price on a core, by a short name.
REASONS: Mapping[str, str] = {
    "int8 only": "gated layers compute in float, and the core takes int8 programs alone: no such plan is proposed",
    "imagined": "the core is imagined: its rate, and what it can leave out, are the profile's, and nobody's kernels",
    "not counted": "the core's table does not have the kernel: the profile says what is left out",
    "no compiler": "there is no C compiler here: a reference that computes all runs in the kernel's place",
    "wide": "no kernel has such numbers of bits: a reference that computes all runs in its place",
    "no kernel": "no kernel has such a layer: a reference that computes all runs in its place",
}


@dataclass(frozen=True, slots=True)
class Basis:
    """What a price rests on.

    Args:
        what: ``"kernels"``, ``"programs"``, ``"calls"``, ``"cycles"``, ``"rate"``, ``"reference"`` or ``"nothing"``.
        provenance: how that is known.
        reason: name in :data:`REASONS` where there are kernels for gates and it is none of theirs; else empty.
    """

    what: str
    provenance: str
    reason: str = ""

    @property
    def measured(self) -> bool:
        """Whether the gate's own work was timed or counted, and not worked out from a figure for all work alike."""
        return self.what in ("kernels", "programs", "calls", "cycles")


# By the model of a core's timing: what programs of plain layers and of gates' heads are read in.
PROGRAMS: Mapping[str, str] = {"litert": "programs", "vela": "cycles", "throughput": "rate"}


def of_cut(core: Core) -> Basis:
    """Return what a gate at a cut is priced by: its head and exits are read as the blocks around it are."""
    counted = board.table_of(core) is not None
    what = "calls" if counted else PROGRAMS.get(core.timing.model, "rate")
    return Basis(what, core.timing.provenance, "imagined" if what == "rate" else "")


def of_layer(core: Core, site: LayerSite, gate: PlacedGate, costs: KernelCosts | None) -> Basis:
    """Return what a gate in the place of a layer is priced by.

    Args:
        core: where.
        site: of the layer.
        gate: with its parameters.
        costs: of the core's kernels, as the table of the search or the core's own has them.
    """
    if arithmetic(FLOAT, core) == "float32" and not core.runs_float:
        return Basis("nothing", core.timing.provenance, "int8 only")
    change = LayerChange(site, work_of(site, gate), ())
    if costs is not None and change.by_kernels(costs) is not None:
        return Basis("kernels", costs.provenance)
    if not core.runs_kernels and board.table_of(core) is None:
        return Basis("rate", core.kernels.provenance, "imagined")
    if change.kernels:
        return Basis("reference", "modelled", "no compiler" if core.runs_kernels else "not counted")
    bits = any(name.endswith("bits") for name, _ in gate.params)
    return Basis("reference", "modelled", "wide" if bits else "no kernel")


def of_space(
    device: Device,
    layers: Sequence[LayerSite],
    gates: Iterable[PlacedGate],
    costs: Mapping[str, KernelCosts],
) -> Iterator[tuple[str, str, Basis, int]]:
    """Yield core, kind, basis and how many of the gates in the places of layers are priced so."""
    every = list(gates)
    for core in device.cores:
        counts = Counter(
            (gate.kind, of_layer(core, find(layers, gate.site), gate, costs.get(core.name))) for gate in every
        )
        for (kind, basis), count in counts.items():
            yield core.name, kind, basis, count


def of_cuts(
    device: Device, variants: Sequence[PlacedGate], sites: Sequence[CutSite]
) -> Iterator[tuple[str, str, Basis, int]]:
    """Yield the same of gates at cuts: for each core and kind, at how many sites."""
    for core in device.cores:
        for kind in dict.fromkeys(gate.kind for gate in variants):
            yield core.name, kind, of_cut(core), len(sites)
