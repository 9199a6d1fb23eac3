"""What one run of a stage takes on a core, added up from the latency table.

A stage is the blocks from one cut to the next, with the changes that gated layers make in them, and the head of the
gate that ends it. Blocks were read one by one, each as a program of its own, so that the sum counts the overhead of a
call once for every block; a stage of plain layers is one program. Kernels of gated layers run between programs: what
counts then is the number of programs that take turns with kernels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

from gatesearch.compile.number_format import BYTES, FLOAT, PLAIN, arithmetic, neediest
from gatesearch.cost.blocks import exit_of, variant_of
from gatesearch.cost.energy import link_bits
from gatesearch.cost.kernel_costs import KernelCosts
from gatesearch.cost.layers import LayerChange, dense_by_kernel
from gatesearch.cost.table import HostTimings, Table, in_float_on
from gatesearch.devices.profile import Core
from gatesearch.gates import CutWork, work_of
from gatesearch.graph.sites import CutSite, LayerSite
from gatesearch.plan import PlacedGate

REST_US = 0.3  # a block of one gated layer leaves less than this; a program for it would be none
CROSSING_BITS = 8  # of an activation that crosses from a stage in int8


class StageWork(NamedTuple):
    """What one run of a stage takes: a reading of the core's kind, MACs, bytes; ``width`` is the bytes of a value."""

    reading: float
    macs: float
    weight_bytes: float
    activation_bytes: float
    width: int


class PlacedCut(NamedTuple):
    """A gate at a cut, its site and the work that it leaves."""

    placed: PlacedGate
    site: CutSite
    work: CutWork

    @classmethod
    @lru_cache(maxsize=10_000)  # a search prices thousands of plans of some dozens of gates
    def of(cls, placed: PlacedGate, site: CutSite) -> PlacedCut:
        """Return a gate at its site."""
        return cls(placed, site, work_of(site, placed))

    @property
    def share(self) -> float:
        """Share of the site's channels that goes on."""
        return self.work.kept_channels / self.site.channels


def crossing_bits(cuts: Sequence[PlacedCut], densities: Sequence[float] | None) -> list[float]:
    """Return the bits that cross each cut in int8.

    Args:
        cuts: of a plan.
        densities: measured share of the site's values that are not zero, by cut; None: what the gate's parameters say.
    """
    if densities is None:
        nonzeros = [cut.work.density * cut.work.elements for cut in cuts]
    else:
        nonzeros = [density * cut.site.elements for density, cut in zip(densities, cuts, strict=True)]
    elements = [cut.work.elements for cut in cuts]
    return [link_bits(every, full, every, CROSSING_BITS) for every, full in zip(elements, nonzeros, strict=True)]


class _Programs:
    """Counts the programs of a stage: stretches of plain layers, as they take turns with kernels."""

    def __init__(self) -> None:
        self._order: list[bool] = []  # True for a plain stretch, False for a kernel
        self._kernels: set[str] = set()

    def add_kernel(self, layer: str, behind: str | None) -> None:
        """Add a layer by kernel; a plain layer of the same block that comes before it is a stretch."""
        if behind is not None and behind not in self._kernels:
            self._order.append(True)
        self._order.append(False)
        self._kernels.add(layer)

    def add_stretch(self) -> None:
        """Add plain layers."""
        self._order.append(True)

    @property
    def count(self) -> int:
        """Number of programs; the last one, which has the gate's head or the output, is there in any case."""
        return sum(is_stretch for is_stretch, _ in groupby([*self._order, True]))


class StagePricer:
    """Adds up stages on one table.

    Args:
        table: readings of the backbone.
        layers: where gates may stand in the place of layers.
        kernels: costs of kernels by core, for cores that the table does not time itself.
    """

    def __init__(self, table: Table, layers: Sequence[LayerSite], kernels: Mapping[str, KernelCosts]) -> None:
        self.table, self.kernels = table, kernels
        self._place = {name: index for index, name in enumerate(table.sites)}
        self._recurrent = [site for site in layers if site.is_recurrent and site.name in table.layers]
        # A search prices thousands of plans, which share their stages.
        self._without_changes: dict[tuple[str, PlacedGate | None, PlacedGate | None], StageWork] = {}

    def stage(
        self, core: Core, entering: PlacedCut | None, leaving: PlacedCut | None, changes: Mapping[str, LayerChange]
    ) -> StageWork:
        """Return what a stage takes on a core.

        Args:
            core: where.
            entering, leaving: the cuts where it begins and ends; None for the input and the output.
            changes: of gated layers, by site; those of other stages are ignored.
        """
        if changes:
            return self._added_up(core, entering, leaving, changes)
        key = (core.name, entering and entering.placed, leaving and leaving.placed)
        if key not in self._without_changes:
            self._without_changes[key] = self._added_up(core, entering, leaving, changes)
        return self._without_changes[key]

    def _added_up(
        self, core: Core, entering: PlacedCut | None, leaving: PlacedCut | None, changes: Mapping[str, LayerChange]
    ) -> StageWork:
        first = self._place[entering.site.name] if entering else 0
        last = self._place[leaving.site.name] if leaving else len(self._place)
        blocks = self.table.sites[first:last]
        native = self.table.native.get(core.name)
        changes = {**self._recurrent_by_kernel(native), **changes}
        inside = {name: change for name, change in changes.items() if self.table.layers[name].block in blocks}
        need = neediest(self.table.needs.get(name, PLAIN) for name in blocks)
        if native is not None and any(change.work is not None for change in inside.values()):
            need = FLOAT  # a stage with gated layers is in float as a whole
        width = BYTES[arithmetic(need, core)]
        reading_name = self._reading_name(core, need)
        programs = _Programs()
        rows = []
        for block in blocks:
            share_in = entering.share if entering and block == blocks[0] else 1.0
            share_out = leaving.share if leaving and block == blocks[-1] else 1.0
            own = {name: change for name, change in inside.items() if self.table.layers[name].block == block}
            rows.append(self._block(core, block, reading_name, (share_in, share_out), own, programs))
        call = self.table.overhead[core.name]
        work = StageWork(
            # Of the calls in the sum of blocks, as many count as there are programs.
            reading=sum(row[core.name] for row in rows) + (programs.count - max(1, len(rows))) * call,
            macs=sum(row["macs"] for row in rows),
            weight_bytes=sum(row["weight_bytes"] for row in rows) * width,
            activation_bytes=max((row["activation_bytes"] for row in rows), default=0.0) * width,
            width=width,
        )
        return work if leaving is None else self._with_head(work, core, leaving, reading_name, alone=not rows)

    def _block(
        self,
        core: Core,
        block: str,
        reading_name: str,
        shares: tuple[float, float],
        changes: Mapping[str, LayerChange],
        programs: _Programs,
    ) -> dict[str, float]:
        """Return a block's reading, MACs and bytes, with shares of channels at its ends and its gated layers."""
        surfaces = self.table.blocks[block]
        row = {name: surface(*shares) for name, surface in surfaces.items()}
        row[core.name] = row[reading_name]
        native = self.table.native.get(core.name)
        costs = self.kernels.get(core.name) if native is None else native.kernels
        for name, change in changes.items():
            layer = self.table.layers[name]
            by_kernel = bool(change.kernels) and native is not None
            if math.isfinite(layer.readings[reading_name]):  # else the block is infinite already
                in_block = layer.left(shares[0], surfaces[reading_name].share_of_tiles(shares[1]))
                row[core.name] += _saved(layer.readings[reading_name], in_block, change, core, costs, by_kernel)
                if by_kernel:
                    programs.add_kernel(name, layer.behind)
            row["macs"] += layer.left(*shares) * change.saved_macs
            row["weight_bytes"] += change.params
        if row[core.name] > self.table.overhead[core.name] + REST_US:
            programs.add_stretch()
        return row

    def _with_head(self, work: StageWork, core: Core, leaving: PlacedCut, reading_name: str, alone: bool) -> StageWork:
        """Add the head of the gate that ends a stage; ``alone`` where the stage has no block."""
        call = self.table.overhead[core.name]
        head = self.table.heads[f"{variant_of(leaving.placed)}@{leaving.site.name}"]
        reading = work.reading + max(0.0, head[reading_name](1.0, 1.0) - call) * leaving.share
        return StageWork(
            reading=reading + (call if alone else 0.0),
            macs=work.macs + leaving.work.macs,
            # Weights have the width of a value; the bias is one int32 in any case.
            weight_bytes=work.weight_bytes + work.width * leaving.work.params + (4 - work.width),
            activation_bytes=float(leaving.site.elements) if alone else work.activation_bytes,
            width=work.width,
        )

    def _recurrent_by_kernel(self, native: HostTimings | None) -> dict[str, LayerChange]:
        """Return the recurrent layers that a core's kernels run where no gate stands in their place."""
        if native is None:
            return {}
        changes = {site.name: dense_by_kernel(site) for site in self._recurrent}
        return {name: change for name, change in changes.items() if change.by_kernels(native.kernels) is not None}

    def _reading_name(self, core: Core, need: str) -> str:
        """Return the name of the reading that a stage of some need has on a core."""
        in_float = core.name in self.table.native and arithmetic(need, core) == "float32"
        name = in_float_on(core.name)
        return name if in_float and name in self.table.blocks[self.table.sites[0]] else core.name

    def loop_us(
        self,
        core: Core,
        before: Core | None,
        entering: PlacedCut | None,
        leaving: PlacedCut | None,
        widths: tuple[int, int],
    ) -> float:
        """Return the microseconds of the host's loop around a stage.

        Args:
            core: of the stage.
            before: of the stage before; None for the first one.
            entering, leaving: see :meth:`stage`.
            widths: bytes of a value in the stage before and in this one.
        """
        native = self.table.native.get(core.name)
        if native is None:
            return 0.0
        entered = float(self.table.input_elements) if entering is None else float(entering.work.elements)
        left = 0.0 if leaving is None else float(leaving.work.elements)
        us = native.loop.byte * (entered + left) * widths[1]
        if before is None or before.name != core.name:
            return us + native.loop.run
        if widths[0] != widths[1]:
            names = {width: number_format for number_format, width in BYTES.items()}
            crossing = f"{names[widths[0]]} {names[widths[1]]}"
            us += native.loop.crossing + entered * native.loop.crossings.get(crossing, 0.0)
        return us + native.loop.stage

    def exit(self, core: Core, leaving: PlacedCut) -> StageWork:
        """Return what one run of the exit of a gate takes."""
        name = exit_of(leaving.placed, leaving.site.name)
        row, width = self.table.heads[name], BYTES[arithmetic(self.table.needs.get(name, PLAIN), core)]
        return StageWork(
            reading=row[core.name](1.0, 1.0),
            macs=float(leaving.work.exit_macs),
            weight_bytes=row["weight_bytes"](1.0, 1.0) * width,
            activation_bytes=row["activation_bytes"](1.0, 1.0) * width,
            width=width,
        )


def _saved(
    dense: float, in_block: float, change: LayerChange, core: Core, costs: KernelCosts | None, by_kernel: bool
) -> float:
    """Return the difference that a changed layer makes to the reading of its block.

    Args:
        dense: reading of the layer with all its channels.
        in_block: share of that which is in the block's reading, where cuts leave channels out.
        change: of the layer.
        core, costs: where, and its kernels.
        by_kernel: a kernel has all channels of its layer, also where a cut leaves some out around it.
    """
    changed = change.reading(dense, core, costs)
    return changed - in_block * dense if by_kernel else in_block * (changed - dense)
