"""Cores by tables of their kernels: counted in an emulator, or timed on a board that a kit was taken to."""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gatesearch.cost.sources.board import table as tables
from gatesearch.cost.sources.board.call_counter import CallCounter, macs_of_call

if TYPE_CHECKING:
    from gatesearch.cost.sources.board.table import BoardCosts, BoardTable
    from gatesearch.devices.profile import Core, Device


@lru_cache(maxsize=32)
def _loaded(where: str, name: str) -> BoardTable:
    return tables.load(where, name)


def table_of(core: Core) -> BoardTable | None:
    """Return the table that a core's timing names; None where it names none.

    Raises:
        UserError: there is no such table.
    """
    name = getattr(core.timing, "table", None)
    return None if name is None else _loaded(f"core {core.name}: timing.table", name)


def of(core: Core) -> BoardCosts | None:
    """Return what kernels cost on a core by its table; None where it has none."""
    found = table_of(core)
    return None if found is None else found.costs


def kernels_of(device: Device) -> dict[str, BoardCosts]:
    """Return what kernels cost, by core, for the cores that have a table."""
    return {core.name: costs for core in device.cores if (costs := of(core)) is not None}


def fingerprint(core: Core) -> str | None:
    """Return a digest of a core's table; None where it has none."""
    found = table_of(core)
    return None if found is None else hashlib.sha256(found.to_json().encode()).hexdigest()[:16]


@torch.no_grad()
def taken(core: Core, costs: BoardCosts, module: nn.Module, example: Tensor) -> float:
    """Return what one run of a module takes in the unit of the core's table.

    Convolutions, products, cells, poolings and sums are priced by the table; products that it has no kernel for by the
    profile's figure for a multiply-accumulate. What else is no product (softmax, norms that are not folded, copies) is
    not counted, as MACs are not.

    Args:
        core: with a table.
        costs: of it.
        module: in evaluation mode.
        example: one sample [1, ...].
    """
    with CallCounter(module) as seen:
        module(example)
    by_call = [(call, costs.reading(call)) for call in seen.calls]
    listed = math.fsum(reading for _, reading in by_call if reading is not None)
    rest = seen.other_macs + math.fsum(macs_of_call(call) for call, reading in by_call if reading is None)
    return listed + core.timing.unlisted(rest)  # type: ignore[union-attr]
