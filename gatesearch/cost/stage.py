"""The multiply-accumulates (MACs) and bytes of one stage on a core, beside its effort, as the basis of its price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gatesearch.compile.number_format import BYTES, PLAIN, arithmetic
from gatesearch.cost.blocks import exit_of
from gatesearch.cost.effort import StageEfforts
from gatesearch.cost.kernel_costs import KernelCosts
from gatesearch.cost.layers import LayerChange
from gatesearch.cost.placed_cut import PlacedCut
from gatesearch.cost.surface import Surface
from gatesearch.cost.table import OVERHEADS, Table
from gatesearch.devices.profile import Core
from gatesearch.graph.lifetimes import Lifetime, join_lifetimes, plan_arena
from gatesearch.graph.program_tables import ARENA_BYTES, FILE_BYTES
from gatesearch.graph.sites import LayerSite

MAX_STAGES = 50_000  # largest number of cached stages, each with a core and gates
RESULT_BYTES = 50  # bytes that a second result adds to a .tflite file: its name and its signature entry
ROW = ("macs", "activation_bytes", *OVERHEADS)  # quantities of a block besides those of its effort


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


class StagePricer:
    """Adds up the costs of stages from one latency table.

    Args:
        table: the latency table of the backbone.
        layers: sites at which a gate may replace a layer.
        kernels: kernel costs by core, for cores whose kernels the table does not contain.
    """

    def __init__(self, table: Table, layers: Sequence[LayerSite], kernels: Mapping[str, KernelCosts]) -> None:
        self.table, self.kernels = table, kernels
        self.efforts = StageEfforts(table, layers, kernels)
        # Caches: a search prices thousands of plans that have most of their stages in common.
        self._stages: dict[tuple[str, str], StageWork] = {}
        self._rows: dict[tuple[str, tuple[float, float]], dict[str, float]] = {}
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
        span = self.efforts.span(core, entering, leaving, changes)
        effort, blocks = self.efforts.effort(core, span), span.blocks
        rows = [self._row(block, shares) for block, shares in zip(blocks, span.shares, strict=True)]
        alive = max((row["activation_bytes"] for row in rows), default=0.0)
        work = StageWork(
            reading=effort.reading,
            macs=sum(map(self._macs, rows, span.shares, span.changes)),
            weight_bytes=effort.weight_bytes,
            activation_bytes=alive * effort.width * self._fragmentation(core, blocks, leaving),
            width=effort.width,
            **{name: sum(row.get(name, 0.0) for row in rows) + self._seam_bytes(blocks, name) for name in OVERHEADS},
        )
        return work if leaving is None else self._with_head(work, leaving, alone=not rows)

    def _row(self, block: str, shares: tuple[float, float]) -> Mapping[str, float]:
        """Return the quantities of a block besides its effort, at the channel shares of its ends."""
        row = self._rows.get((block, shares))
        if row is None:
            surfaces = self.table.blocks[block]
            row = {name: surfaces[name](*shares) for name in ROW if name in surfaces}
            self._rows[block, shares] = row
        return row

    def _macs(self, row: Mapping[str, float], shares: tuple[float, float], changes: Sequence[LayerChange]) -> float:
        """Return the MACs of a block with its changed layers."""
        macs = row["macs"]
        for change in changes:
            macs += self.table.layers[change.site.name].remaining_share(*shares) * change.macs_change
        return macs

    def _with_head(self, work: StageWork, leaving: PlacedCut, alone: bool) -> StageWork:
        """Add the head of the gate that ends a stage; ``alone`` says that the stage has no block.

        The stage's effort already contains the reading and the weights of the head.
        """
        head = self.table.heads[leaving.head]
        in_head = _dense(head, "activation_bytes") * work.width * leaving.channel_share
        return work._replace(
            macs=work.macs + leaving.work.macs,
            activation_bytes=max(float(leaving.site.elements) if alone else work.activation_bytes, in_head),
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
        head = () if leaving is None else self.table.lifetimes[leaving.head]
        key = (tuple(blocks), head)
        if key not in self._fragmentations:
            single = [self.table.lifetimes[name] for name in blocks]
            end = max((each.last for each in head), default=0)
            during = [each if each.first or each.is_temporary else each._replace(last=end) for each in head]
            self._fragmentations[key] = plan_arena(join_lifetimes([*single, during])) / max(map(plan_arena, single))
        return self._fragmentations[key]

    def loop_us(self, core: Core, before: Core | None, values: tuple[Any, Any], widths: tuple[Any, Any]) -> Any:
        """Return the microseconds that a bundle's code around programs adds on this host; zero on other cores.

        Args:
            core: the core of the stage.
            before: the core of the stage before; None for the first stage.
            values: number of values that enter the stage, and that leave it at a cut; numbers, or arrays of the same
                shape for several stages.
            widths: bytes of a value in the stage before and in this stage, likewise.
        """
        native = self.table.native.get(core.name)
        if native is None:
            return 0.0
        us = native.loop.byte * (values[0] + values[1]) * widths[1]
        if before is None or before.name != core.name:
            return us + native.loop.run
        return us + native.loop.crossing_us(values[0], widths) + native.loop.stage

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
