"""The time, multiply-accumulates (MACs) and bytes of one stage on a core, as the basis of its price.

A *reading* is a time or a count of work, in the unit of the core's timing. Latency and energy follow from the reading.

A stage consists of the blocks between two cuts, with the changes by gated layers, and of the head of the gate that ends
the stage. The reading of the stage is the sum over blocks and head. In the latency table each block is a program of its
own, so the reading of each block contains the overhead of one call. A stage of plain layers is one program, so all
overheads but one are subtracted from the sum. Kernels of gated layers run between programs and split the stage into
several programs. As many overheads remain as there are programs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from gatesearch.compile.number_format import BYTES, FLOAT, PLAIN, arithmetic, neediest
from gatesearch.cost.blocks import exit_of, variant_of
from gatesearch.cost.kernel_costs import InBytes, KernelCosts
from gatesearch.cost.layers import LayerChange, dense_by_kernel
from gatesearch.cost.placed_cut import PlacedCut
from gatesearch.cost.surface import Surface
from gatesearch.cost.table import OVERHEADS, HostTimings, Table, in_float_on
from gatesearch.devices.profile import Core
from gatesearch.graph.lifetimes import Lifetime, join_lifetimes, plan_arena
from gatesearch.graph.program_tables import ARENA_BYTES, FILE_BYTES
from gatesearch.graph.sites import LayerSite

MAX_STAGES = MAX_BLOCKS = 50_000  # largest numbers of cached stages and blocks, each with a core and gates
RESULT_BYTES = 50  # bytes that a second result adds to a .tflite file: its name and its signature entry
EMPTY_BLOCK_US = 0.3  # a block needs no program if its work outside kernels takes at most this time


class StageWork(NamedTuple):
    """The work of one run of a stage.

    Args:
        reading: reading of the stage, in the unit of the core's timing.
        macs: number of MACs.
        weight_bytes: bytes of its constants.
        activation_bytes: largest number of bytes of tensors that live at the same time.
        width: bytes of a value.
        file_overhead_bytes: bytes of its .tflite file besides weights and
            :data:`~gatesearch.graph.program_tables.FILE_BYTES`.
        arena_overhead_bytes: bytes of TensorFlow Lite Micro's arena besides activations and
            :data:`~gatesearch.graph.program_tables.ARENA_BYTES`.
    """

    reading: float
    macs: float
    weight_bytes: float
    activation_bytes: float
    width: int
    file_overhead_bytes: float = 0.0
    arena_overhead_bytes: float = 0.0

    def memory_bytes(self, core: Core) -> tuple[float, float]:
        """Return the flash and the SRAM that one program of the stage occupies on a core.

        With TensorFlow Lite Micro these are its .tflite file and its arena. With other engines they are the weights and
        the activations.
        """
        if core.artifact_engine != "tflm":
            return self.weight_bytes, self.activation_bytes
        flash = FILE_BYTES + self.weight_bytes + self.file_overhead_bytes
        return flash, ARENA_BYTES + self.activation_bytes + self.arena_overhead_bytes


class BlockWork(NamedTuple):
    """One run of a block.

    Args:
        row: quantities of the block by name: its MACs, its bytes and, under the core's name, its reading.
        kernels: the sites of its layers that C kernels run.
        has_rest: whether the block has work besides these kernels.
    """

    row: Mapping[str, float]
    kernels: tuple[str, ...]
    has_rest: bool


class _Programs:
    """Counts the programs of a stage: each stretch of plain layers between kernels is one program."""

    def __init__(self) -> None:
        self._order: list[bool] = []  # True for a plain stretch, False for a kernel
        self._kernels: set[str] = set()

    def add_kernel(self, layer: str, previous: str | None) -> None:
        """Add a layer that a kernel runs, behind a stretch of plain layers that ends with the layer ``previous``."""
        if previous is not None and previous not in self._kernels:
            self._order.append(True)
        self._order.append(False)
        self._kernels.add(layer)

    def add_stretch(self) -> None:
        """Add plain layers after the last kernel."""
        self._order.append(True)

    @property
    def count(self) -> int:
        """Number of programs; the last one, which contains the gate's head or the output, always exists."""
        return sum(is_stretch for is_stretch, _ in groupby([*self._order, True]))


class StagePricer:
    """Adds up the costs of stages from one latency table.

    Args:
        table: the latency table of the backbone.
        layers: sites at which a gate may replace a layer.
        kernels: kernel costs by core, for cores whose kernels the table does not contain.
    """

    def __init__(self, table: Table, layers: Sequence[LayerSite], kernels: Mapping[str, KernelCosts]) -> None:
        self.table, self.kernels = table, kernels
        self._positions = {name: index for index, name in enumerate(table.sites)}
        self._recurrent = [site for site in layers if site.is_recurrent and site.name in table.layers]
        # Caches: a search prices thousands of plans that have most of their stages in common.
        self._stages: dict[tuple[str, str], StageWork] = {}
        self._blocks: dict[tuple[object, ...], BlockWork] = {}
        self._fragmentations: dict[tuple[tuple[str, ...], tuple[Lifetime, ...]], float] = {}

    def stage(
        self,
        core: Core,
        entering: PlacedCut | None,
        leaving: PlacedCut | None,
        changes: Mapping[str, LayerChange],
        key: str | None = None,
    ) -> StageWork:
        """Return the work of a stage on a core.

        Args:
            core: the core that runs it.
            entering: the cut at which the stage begins; None for the input.
            leaving: the cut at which it ends; None for the output.
            changes: changes of layers, by site; those in other stages are ignored.
            key: the stage's cache key, see :class:`gatesearch.cost.stage_keys.StageKeys`; None does not cache the work.
        """
        if key is None:
            return self._sum_blocks(core, entering, leaving, changes)
        work = self._stages.get((core.name, key))
        if work is None:
            if len(self._stages) >= MAX_STAGES:
                self._stages.clear()
            work = self._stages[core.name, key] = self._sum_blocks(core, entering, leaving, changes)
        return work

    def _sum_blocks(
        self, core: Core, entering: PlacedCut | None, leaving: PlacedCut | None, changes: Mapping[str, LayerChange]
    ) -> StageWork:
        """Return the work of a stage: the sum over its blocks, and the head of the gate that ends it."""
        first = self._positions[entering.site.name] if entering else 0
        last = self._positions[leaving.site.name] if leaving else len(self._positions)
        blocks = self.table.sites[first:last]
        native = self.table.native.get(core.name)
        changes = {**self._recurrent_by_kernel(native), **changes}
        inside = {name: change for name, change in changes.items() if self.table.layers[name].block in blocks}
        need = neediest(self.table.needs.get(name, PLAIN) for name in blocks)
        gated = [change for change in inside.values() if change.work is not None]
        in_bytes = (
            native is not None
            and leaving is None
            and need == PLAIN
            and bool(gated)
            and all(change.runs_in_bytes(native.kernels) for change in gated)
        )
        if native is not None and gated and not in_bytes:
            need = FLOAT  # one gated layer in float makes the whole stage float
        width = BYTES[arithmetic(need, core)]
        reading_name = self._reading_name(core, need)
        programs = _Programs()
        rows = []
        for block, shares in zip(blocks, self._channel_shares(blocks, entering, leaving), strict=True):
            own = tuple(change for name, change in inside.items() if self.table.layers[name].block == block)
            block_work = self._block(core, block, reading_name, shares, own, in_bytes)
            rows.append(block_work.row)
            for name in block_work.kernels:
                programs.add_kernel(name, self.table.layers[name].previous)
            if block_work.has_rest:
                programs.add_stretch()
        call = self.table.overhead[core.name]
        calls = 1 if in_bytes else programs.count  # a stage in int8 is one call of C
        alive = max((row["activation_bytes"] for row in rows), default=0.0)
        work = StageWork(
            # The sum contains one call per block; the stage makes one call per program.
            reading=sum(row[core.name] for row in rows) + (calls - max(1, len(rows))) * call,
            macs=sum(row["macs"] for row in rows),
            weight_bytes=sum(row["weight_bytes"] for row in rows) * width,
            activation_bytes=alive * width * self._fragmentation(core, blocks, leaving),
            width=width,
            **{name: sum(row.get(name, 0.0) for row in rows) + self._seam_bytes(blocks, name) for name in OVERHEADS},
        )
        return work if leaving is None else self._with_head(work, core, leaving, reading_name, alone=not rows)

    def _channel_shares(
        self, blocks: Sequence[str], entering: PlacedCut | None, leaving: PlacedCut | None
    ) -> list[tuple[float, float]]:
        """Return the share of channels at the input and at the output of each block of a stage.

        Cuts remove channels at both ends of a stage. Where the block at an end mixes no channels, its neighbour in the
        stage lacks the same channels.
        """
        pruned_inputs, pruned_outputs = {*blocks[:1]}, {*blocks[-1:]}
        if blocks:
            pruned_inputs |= set(self.table.neighbours.get(blocks[0], ((), ()))[0])
            pruned_outputs |= set(self.table.neighbours.get(blocks[-1], ((), ()))[1])
        share_in = entering.channel_share if entering else 1.0
        share_out = leaving.channel_share if leaving else 1.0
        return [
            (share_in if block in pruned_inputs else 1.0, share_out if block in pruned_outputs else 1.0)
            for block in blocks
        ]

    def _block(
        self,
        core: Core,
        block: str,
        reading_name: str,
        shares: tuple[float, float],
        changes: tuple[LayerChange, ...],
        in_bytes: bool,
    ) -> BlockWork:
        """Return the work of a block at the channel shares of its ends, with its changed layers."""
        changed = tuple((change.site.name, change.work, change.remaining_inputs) for change in changes)
        key = core.name, block, reading_name, shares, changed, in_bytes
        work = self._blocks.get(key)
        if work is None:
            if len(self._blocks) >= MAX_BLOCKS:
                self._blocks.clear()
            work = self._blocks[key] = self._read_block(core, block, reading_name, shares, changes, in_bytes)
        return work

    def _read_block(
        self,
        core: Core,
        block: str,
        reading_name: str,
        shares: tuple[float, float],
        changes: tuple[LayerChange, ...],
        in_bytes: bool,
    ) -> BlockWork:
        surfaces = self.table.blocks[block]
        row = {name: surface(*shares) for name, surface in surfaces.items()}
        row[core.name] = row[reading_name] + core.cost_per_value * row.get("values", 0.0)
        native = self.table.native.get(core.name)
        costs: KernelCosts | None = self.kernels.get(core.name) if native is None else native.kernels
        if in_bytes and costs is not None:
            costs = InBytes(costs)
        kernels = []
        for change in changes:
            layer = self.table.layers[change.site.name]
            by_kernel = bool(change.kernels) and native is not None
            if math.isfinite(layer.readings[reading_name]):  # else the block's reading is infinite as well
                # A core computes whole tiles of output channels, so a reading shrinks by tiles, and MACs by channels.
                in_block = layer.remaining_share(shares[0], surfaces[reading_name].share_of_tiles(shares[1]))
                row[core.name] += _difference(layer.readings[reading_name], in_block, change, core, costs, by_kernel)
                if by_kernel:
                    kernels.append(change.site.name)
            row["macs"] += layer.remaining_share(*shares) * change.macs_change
            row["weight_bytes"] += change.params_change
        has_rest = row[core.name] > self.table.overhead[core.name] + EMPTY_BLOCK_US
        return BlockWork(row, tuple(kernels), has_rest)

    def _with_head(self, work: StageWork, core: Core, leaving: PlacedCut, reading_name: str, alone: bool) -> StageWork:
        """Add the head of the gate that ends a stage; ``alone`` says that the stage has no block."""
        call = self.table.overhead[core.name]
        head = self.table.heads[f"{variant_of(leaving.placed)}@{leaving.site.name}"]
        head_reading = head[reading_name](1.0, 1.0) + core.cost_per_value * _dense(head, "values")
        reading = work.reading + max(0.0, head_reading - call) * leaving.channel_share
        in_head = _dense(head, "activation_bytes") * work.width * leaving.channel_share
        return StageWork(
            reading=reading + (call if alone else 0.0),
            macs=work.macs + leaving.work.macs,
            # Weights have the width of a value; the single bias is always four bytes.
            weight_bytes=work.weight_bytes + work.width * leaving.work.params + (4 - work.width),
            activation_bytes=max(float(leaving.site.elements) if alone else work.activation_bytes, in_head),
            width=work.width,
            **{name: getattr(work, name) + self._head_overhead(head, name, leaving) for name in OVERHEADS},
        )

    def _head_overhead(self, head: Mapping[str, Surface], name: str, leaving: PlacedCut) -> float:
        """Return the bytes of one overhead of a gate's head; that of the file includes the program's second result."""
        own = head[name](1.0, leaving.channel_share) if name in head else 0.0
        return own + (RESULT_BYTES if name == "file_overhead_bytes" else 0.0)

    def _seam_bytes(self, blocks: Sequence[str], name: str) -> float:
        """Return the bytes of an overhead that the program of several blocks has beyond the sum over the blocks."""
        return sum(self.table.seams.get(block, {}).get(name, 0.0) for block in blocks[1:])

    def _fragmentation(self, core: Core, blocks: Sequence[str], leaving: PlacedCut | None) -> float:
        """Return the arena that TensorFlow Lite Micro plans for a stage, divided by the largest arena of its blocks.

        The planner is greedy, and leaves gaps where tensors of several blocks interleave. The output of the stage stays
        alive while the head of its gate runs. For other engines the ratio is 1.
        """
        if core.artifact_engine != "tflm" or not all(name in self.table.lifetimes for name in blocks) or not blocks:
            return 1.0
        head = () if leaving is None else self.table.lifetimes[f"{variant_of(leaving.placed)}@{leaving.site.name}"]
        key = (tuple(blocks), head)
        if key not in self._fragmentations:
            single = [self.table.lifetimes[name] for name in blocks]
            end = max((each.last for each in head), default=0)
            during = [each if each.first or each.is_temporary else each._replace(last=end) for each in head]
            self._fragmentations[key] = plan_arena(join_lifetimes([*single, during])) / max(map(plan_arena, single))
        return self._fragmentations[key]

    def _recurrent_by_kernel(self, native: HostTimings | None) -> dict[str, LayerChange]:
        """Return the ungated recurrent layers that kernels run on a core, as changes by site."""
        if native is None:
            return {}
        changes = {site.name: dense_by_kernel(site) for site in self._recurrent}
        return {name: change for name, change in changes.items() if change.by_kernels(native.kernels) is not None}

    def _reading_name(self, core: Core, need: str) -> str:
        """Return the name under which the table has the readings of a stage on a core, in the stage's number format."""
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
        """Return the microseconds that a bundle's code around programs adds on this host; zero on other cores.

        Args:
            core: the core of the stage.
            before: the core of the stage before; None for the first stage.
            entering: the cut at which the stage begins; None for the input.
            leaving: the cut at which it ends; None for the output.
            widths: bytes of a value in the stage before and in this stage.
        """
        native = self.table.native.get(core.name)
        if native is None:
            return 0.0
        values_in = float(self.table.input_elements) if entering is None else float(entering.work.elements)
        values_out = 0.0 if leaving is None else float(leaving.work.elements)
        us = native.loop.byte * (values_in + values_out) * widths[1]
        if before is None or before.name != core.name:
            return us + native.loop.run
        if widths[0] != widths[1]:
            names = {width: number_format for number_format, width in BYTES.items()}
            crossing = f"{names[widths[0]]} {names[widths[1]]}"
            us += native.loop.crossing + values_in * native.loop.crossings.get(crossing, 0.0)
        return us + native.loop.stage

    def exit(self, core: Core, leaving: PlacedCut) -> StageWork:
        """Return the work of one run of a gate's exit."""
        name = exit_of(leaving.placed, leaving.site.name)
        row, width = self.table.heads[name], BYTES[arithmetic(self.table.needs.get(name, PLAIN), core)]
        return StageWork(
            reading=row[core.name](1.0, 1.0) + core.cost_per_value * _dense(row, "values"),
            macs=float(leaving.work.exit_macs),
            weight_bytes=row["weight_bytes"](1.0, 1.0) * width,
            activation_bytes=row["activation_bytes"](1.0, 1.0) * width,
            width=width,
            **{name: _dense(row, name) for name in OVERHEADS},
        )


def _dense(row: Mapping[str, Surface], name: str) -> float:
    """Return a quantity with all channels; 0 if the table lacks it."""
    return row[name](1.0, 1.0) if name in row else 0.0


def _difference(
    dense: float, in_block: float, change: LayerChange, core: Core, costs: KernelCosts | None, by_kernel: bool
) -> float:
    """Return the difference that a changed layer makes to the reading of its block.

    The block's reading contains ``in_block * dense`` for the layer, because cuts remove channels. A changed plain layer
    shrinks with the block, so its new reading is multiplied by the same share. A kernel computes all channels of its
    layer, also those that a cut removes around it, so its reading counts in full.

    Args:
        dense: reading of the layer with all its channels.
        in_block: share of ``dense`` that the block's reading contains.
        change: the change of the layer.
        core: the core of the stage.
        costs: the costs of the core's kernels, if any.
        by_kernel: whether a kernel runs the layer.
    """
    changed = change.reading(dense, core, costs)
    return changed - in_block * dense if by_kernel else in_block * (changed - dense)
