"""Readings from kernel tables of cores: counted in an emulator, or timed by a kit on a board."""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gatesearch.cost.sources.board import table as tables
from gatesearch.cost.sources.board.call_counter import CallCounter, macs_of_call
from gatesearch.devices.engine import ENGINES

if TYPE_CHECKING:
    from gatesearch.cost.sources.board.table import BoardCosts, BoardTable
    from gatesearch.devices.profile import Core, Device


@lru_cache(maxsize=32)
def _loaded(where: str, name: str) -> BoardTable:
    return tables.load(where, name)


def table_of(core: Core) -> BoardTable | None:
    """Return the table that a core's timing names; None if it names none.

    Raises:
        UserError: there is no such table.
    """
    name = getattr(core.timing, "table", None)
    return None if name is None else _loaded(f"core {core.name}: timing.table", name)


def costs_of(core: Core) -> BoardCosts | None:
    """Return the kernel costs in a core's table; None if it has no table."""
    table = table_of(core)
    return None if table is None else table.costs


def kernels_of(device: Device) -> dict[str, BoardCosts]:
    """Return the kernel costs by core, for the cores that have a table and whose engine skips what gates leave out."""
    by_core = {core.name: costs_of(core) for core in device.cores if ENGINES[core.engine].skips}
    return {name: costs for name, costs in by_core.items() if costs is not None}


def fingerprint(core: Core) -> str | None:
    """Return a digest of a core's table; None if it has no table."""
    table = table_of(core)
    return None if table is None else hashlib.sha256(table.to_json().encode()).hexdigest()[:16]


@torch.no_grad()
def module_reading(core: Core, costs: BoardCosts, module: nn.Module, example: Tensor) -> float:
    """Return the reading of one run of a module, in the unit of the core's table.

    The table prices convolutions, products, cells, poolings and sums. Products without a kernel in the table are priced
    by the profile's figure for a multiply-accumulate. Other operators (softmax, norms that are not folded, copies) do
    not count, as they do not count in MACs.

    Args:
        core: a core with a table.
        costs: the costs in that table.
        module: in evaluation mode.
        example: one sample [1, ...].
    """
    with CallCounter(module) as counter:
        module(example)
    by_call = [(call, costs.reading(call)) for call in counter.calls]
    listed = math.fsum(reading for _, reading in by_call if reading is not None)
    rest = counter.other_macs + math.fsum(macs_of_call(call) for call, reading in by_call if reading is None)
    return listed + core.timing.unlisted(rest)  # type: ignore[union-attr]
