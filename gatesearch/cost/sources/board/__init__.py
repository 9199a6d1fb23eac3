"""Prices modules by a core's kernel table, which was counted in an emulator or timed on a board."""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gatesearch.cost.sources.board import table as tables
from gatesearch.cost.sources.board.call_counter import kernel_calls
from gatesearch.devices.engine import ENGINES
from gatesearch.gates import KernelCall
from gatesearch.graph.operator_log import OperatorLog

if TYPE_CHECKING:
    from gatesearch.cost.sources.board.table import BoardCosts, BoardTable
    from gatesearch.devices.profile import Core, Device
    from gatesearch.graph.operator_log import Operation


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
    """Return the estimated cost (*reading*) of one run of a module, in the unit of the core's table.

    The table has kernels for convolutions, products, recurrent cells, poolings and sums. Other work without products
    counts as a sum of the same number of values. An operator for which the table lacks a kernel is priced by the
    profile's figures for a multiply-accumulate and for a value.

    Args:
        core: a core with a table.
        costs: the costs in that table.
        module: the module in evaluation mode.
        example: one sample [1, ...].
    """
    with OperatorLog(module) as log:
        module(example)
    return math.fsum(_operation_reading(core, costs, operation) for operation in log.operations())


def values_reading(core: Core, costs: BoardCosts, values: int) -> float:
    """Return the reading of work without products on some number of values, without the overhead of a call."""
    empty, work = (costs.reading(KernelCall("sum", (count,))) for count in (0, values))
    if empty is None or work is None:
        return core.timing.cost_without_kernel(0.0, values)  # type: ignore[union-attr]
    return work - empty


def _operation_reading(core: Core, costs: BoardCosts, operation: Operation) -> float:
    calls = list(kernel_calls(operation))
    readings = [reading for reading in map(costs.reading, calls) if reading is not None]
    if calls and len(readings) == len(calls):
        return math.fsum(readings)
    return core.timing.cost_without_kernel(operation.macs, operation.values)  # type: ignore[union-attr]
