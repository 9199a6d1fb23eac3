"""The effort of one stage on a core: its time and its weights, from which latency and energy follow.

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
from gatesearch.cost.kernel_costs import InBytes, KernelCosts
from gatesearch.cost.layers import LayerChange, dense_by_kernel
from gatesearch.cost.placed_cut import PlacedCut
from gatesearch.cost.surface import Surface
from gatesearch.cost.table import HostTimings, Table, in_float_on
from gatesearch.devices.profile import Core
from gatesearch.graph.sites import LayerSite

MAX_BLOCKS = 50_000  # largest number of cached blocks, each with a core and gates
EMPTY_BLOCK_US = 0.3  # a block needs no program if its work outside kernels takes at most this time


class StageEffort(NamedTuple):
    """The part of a stage's work that decides its time and its energy.

    Args:
        reading: reading of the stage, in the unit of the core's timing.
        weight_bytes: bytes of its constants.
        width: bytes of a value.
    """

    reading: float
    weight_bytes: float
    width: int


class BlockEffort(NamedTuple):
    """The part of one run of a block that decides its time and its energy.

    Args:
        reading: reading of the block, in the unit of the core's timing.
        weights: number of its constants.
        kernels: the sites of its layers that C kernels run.
        has_rest: whether the block has work besides these kernels.
    """

    reading: float
    weights: float
    kernels: tuple[str, ...]
    has_rest: bool


class StageSpan(NamedTuple):
    """The blocks of a stage and the changes of their layers.

    Args:
        blocks: names of the blocks.
        shares: for each block, the shares of channels that remain at its input and at its output.
        changes: for each block, the changes of its layers.
        leaving: the cut at which the stage ends; None for the output.
        need: how much the blocks need float32; see :func:`gatesearch.compile.number_format.needs`.
    """

    blocks: Sequence[str]
    shares: Sequence[tuple[float, float]]
    changes: Sequence[tuple[LayerChange, ...]]
    leaving: PlacedCut | None
    need: str


class StageForm(NamedTuple):
    """The form in which a core runs a stage.

    Args:
        reading_name: name under which the table has the readings of this form.
        width: bytes of a value.
        in_bytes: whether kernels between bytes run the gated layers; the stage is then one call of C.
    """

    reading_name: str
    width: int
    in_bytes: bool


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


class StageEfforts:
    """Adds up the readings and the weights of stages from one latency table.

    Args:
        table: the latency table of the backbone.
        layers: sites at which a gate may replace a layer.
        kernels: kernel costs by core, for cores whose kernels the table does not contain.
    """

    def __init__(self, table: Table, layers: Sequence[LayerSite], kernels: Mapping[str, KernelCosts]) -> None:
        self.table, self._kernels = table, kernels
        self._positions = {name: index for index, name in enumerate(table.sites)}
        self._recurrent = [site for site in layers if site.is_recurrent and site.name in table.layers]
        # Caches: a search prices thousands of plans that have most of their blocks in common.
        self._blocks: dict[tuple[object, ...], BlockEffort] = {}
        self._plain_blocks: dict[tuple[str, str, tuple[float, float]], tuple[float, float]] = {}
        self._changed: dict[tuple[str, str, bool, str], float] = {}
        self._needs: dict[tuple[str, ...], str] = {}
        self._in_bytes: dict[tuple[str, str], bool] = {}
        self._recurrent_on: dict[str, dict[str, LayerChange]] = {}

    def span(
        self, core: Core, entering: PlacedCut | None, leaving: PlacedCut | None, changes: Mapping[str, LayerChange]
    ) -> StageSpan:
        """Return the blocks of a stage, with the changes that concern them.

        Args:
            core: the core that runs the stage; kernels may run its ungated recurrent layers.
            entering: the cut at which the stage begins; None for the input.
            leaving: the cut at which it ends; None for the output.
            changes: changes of layers, by site; those in other stages are ignored.
        """
        first = self._positions[entering.site.name] if entering else 0
        last = self._positions[leaving.site.name] if leaving else len(self._positions)
        blocks = self.table.sites[first:last]
        own: dict[str, list[LayerChange]] = {name: [] for name in blocks}
        for name, change in {**self._find_recurrent(core.name), **changes}.items():
            block = self.table.layers[name].block
            if block in own:
                own[block].append(change)
        shares = self._channel_shares(blocks, entering, leaving)
        return StageSpan(blocks, shares, [tuple(row) for row in own.values()], leaving, self._need_of(blocks))

    @property
    def depends_on_core(self) -> bool:
        """Whether :meth:`span` depends on the core."""
        return bool(self._recurrent)

    def effort(self, core: Core, span: StageSpan) -> StageEffort:
        """Return the reading and the weights of a stage on a core."""
        form, leaving = self.form(core, span), span.leaving
        blocks = [
            self.block(core, block, form, shares, changes)
            for block, shares, changes in zip(span.blocks, span.shares, span.changes, strict=True)
        ]
        # The sum contains one call per block; the stage makes one call per program.
        call, calls = self.table.overhead[core.name], 1 if form.in_bytes else self._count_programs(blocks)
        reading = sum([block.reading for block in blocks]) + (calls - max(1, len(blocks))) * call
        weight_bytes = sum([block.weights for block in blocks]) * form.width
        if leaving is not None:
            head = (
                max(0.0, _reading_of(self.table.heads[leaving.head], core, form.reading_name) - call)
                * leaving.channel_share
            )
            reading = reading + head + (0.0 if blocks else call)
            # Weights have the width of a value; the single bias is always four bytes.
            weight_bytes = weight_bytes + form.width * leaving.work.params + (4 - form.width)
        return StageEffort(reading, weight_bytes, form.width)

    def form(self, core: Core, span: StageSpan) -> StageForm:
        """Return the form in which a core runs a stage."""
        need, native = span.need, self.table.native.get(core.name)
        in_bytes = False
        if native is not None:
            gated = [change for own in span.changes for change in own if change.work is not None]
            in_bytes = (
                span.leaving is None
                and need == PLAIN
                and bool(gated)
                and all(self._runs_in_bytes(core.name, native, change) for change in gated)
            )
            if gated and not in_bytes:
                need = FLOAT  # one gated layer in float makes the whole stage float
        number_format = arithmetic(need, core)
        name = in_float_on(core.name) if native is not None and number_format == "float32" else core.name
        is_known = name in self.table.blocks[self.table.sites[0]]
        return StageForm(name if is_known else core.name, BYTES[number_format], in_bytes)

    def block(
        self,
        core: Core,
        block: str,
        form: StageForm,
        shares: tuple[float, float],
        changes: tuple[LayerChange, ...],
    ) -> BlockEffort:
        """Return the effort of a block at the channel shares of its ends, with its changed layers."""
        keys = tuple([change.key for change in changes])
        if None in keys:
            return self._read_block(core, block, form, shares, changes)
        key = core.name, block, form.reading_name, form.in_bytes, shares, keys
        effort = self._blocks.get(key)
        if effort is None:
            if len(self._blocks) >= MAX_BLOCKS:
                self._blocks.clear()
            effort = self._blocks[key] = self._read_block(core, block, form, shares, changes)
        return effort

    def _read_block(
        self, core: Core, block: str, form: StageForm, shares: tuple[float, float], changes: tuple[LayerChange, ...]
    ) -> BlockEffort:
        name = form.reading_name
        reading, weights = self._read_plain_block(core, block, name, shares)
        native = self.table.native.get(core.name)
        kernels = []
        for change in changes:
            layer = self.table.layers[change.site.name]
            by_kernel = native is not None and bool(change.kernels)
            dense = layer.readings[name]
            if math.isfinite(dense):  # else the block's reading is infinite as well
                # A core computes whole tiles of output channels, so a reading shrinks by tiles, and MACs by channels.
                tiles = self.table.blocks[block][name].share_of_tiles(shares[1])
                in_block = layer.remaining_share(shares[0], tiles)
                changed = self._read_changed(core, form, dense, change)
                # The block's reading contains ``in_block * dense`` for the layer, because cuts remove channels. A
                # changed plain layer shrinks with the block, so its new reading is multiplied by the same share. A
                # kernel computes all channels of its layer, also those that a cut removes around it, so its reading
                # counts in full.
                reading += changed - in_block * dense if by_kernel else in_block * (changed - dense)
                if by_kernel:
                    kernels.append(change.site.name)
            weights += change.params_change
        has_rest = reading > self.table.overhead[core.name] + EMPTY_BLOCK_US
        return BlockEffort(reading, weights, tuple(kernels), has_rest)

    def _read_plain_block(
        self, core: Core, block: str, reading_name: str, shares: tuple[float, float]
    ) -> tuple[float, float]:
        """Return the reading and the number of constants of a block without changed layers."""
        key = reading_name, block, shares
        plain = self._plain_blocks.get(key)
        if plain is None:
            surfaces = self.table.blocks[block]
            reading = _reading_of(surfaces, core, reading_name, shares)
            plain = self._plain_blocks[key] = reading, surfaces["weight_bytes"](*shares)
        return plain

    def _read_changed(self, core: Core, form: StageForm, dense: float, change: LayerChange) -> float:
        """Return the reading of a changed layer; ``dense`` is the reading of the unchanged layer."""
        key = None if change.key is None else (core.name, form.reading_name, form.in_bytes, change.key)
        reading = None if key is None else self._changed.get(key)
        if reading is None:
            native = self.table.native.get(core.name)
            costs = self._kernels.get(core.name) if native is None else native.kernels
            reading = change.reading(dense, core, InBytes(costs) if form.in_bytes and costs is not None else costs)
            if key is not None:
                self._changed[key] = reading
        return reading

    def _runs_in_bytes(self, core: str, native: HostTimings, change: LayerChange) -> bool:
        """Return whether kernels between bytes can do the work of a changed layer on a core of this host."""
        if change.key is None:
            return change.runs_in_bytes(native.kernels)
        key = core, change.key
        if key not in self._in_bytes:
            self._in_bytes[key] = change.runs_in_bytes(native.kernels)
        return self._in_bytes[key]

    def _need_of(self, blocks: tuple[str, ...]) -> str:
        need = self._needs.get(blocks)
        if need is None:
            need = self._needs[blocks] = neediest(self.table.needs.get(name, PLAIN) for name in blocks)
        return need

    def _count_programs(self, blocks: Sequence[BlockEffort]) -> int:
        if not any([block.kernels for block in blocks]):
            return 1
        programs = _Programs()
        for block in blocks:
            for name in block.kernels:
                programs.add_kernel(name, self.table.layers[name].previous)
            if block.has_rest:
                programs.add_stretch()
        return programs.count

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

    def _find_recurrent(self, core: str) -> dict[str, LayerChange]:
        """Return the ungated recurrent layers that kernels run on a core, as changes by site."""
        native = self.table.native.get(core)
        if native is None or not self._recurrent:
            return {}
        if core not in self._recurrent_on:
            changes = {site.name: dense_by_kernel(site) for site in self._recurrent}
            self._recurrent_on[core] = {
                name: change for name, change in changes.items() if change.by_kernels(native.kernels) is not None
            }
        return self._recurrent_on[core]


def _reading_of(
    surfaces: Mapping[str, Surface], core: Core, reading_name: str, shares: tuple[float, float] = (1.0, 1.0)
) -> float:
    """Return the reading of a block or of a head on a core, at the shares of channels at its ends."""
    values = surfaces["values"](*shares) if "values" in surfaces else 0.0
    return surfaces[reading_name](*shares) + core.cost_per_value * values
