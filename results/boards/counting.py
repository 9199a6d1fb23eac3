"""Counts the instructions of every kernel call of the networks in QEMU, and stores them with the tools and calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gatesearch.cost.sources.board import count as board_count
from gatesearch.cost.sources.board.shapes import EMPTY_CALL
from gatesearch.cost.sources.board.table import call_to_dict
from gatesearch.gates import KernelCall
from gatesearch.pipeline.run_dir import RunFolder
from results.benchmark import resume_same

Counts = Mapping[KernelCall, float]


def count(folder: RunFolder, core: str, calls: Sequence[KernelCall]) -> Counts:
    """Return the instructions of calls on a core; they are counted again if sources, tools or calls have changed.

    Args:
        folder: folder that stores the counts.
        core: name of an emulated core and of its kernel table.
        calls: the calls, without repetitions.

    Raises:
        UserError: a tool is missing or fails.
    """
    settings = {"tools": board_count.tools(core), "calls": [call_to_dict(call) for call in calls]}
    stored = resume_same(folder, f"{core}.json", settings, lambda: {"instructions": _counted(core, calls)})
    return dict(zip(calls, stored["instructions"], strict=True))


def _counted(core: str, calls: Sequence[KernelCall]) -> list[float]:
    table = board_count.count(core, (EMPTY_CALL, *calls))
    return [reading.shortest for reading in table.readings]


def sources(folder: RunFolder, core: str) -> Mapping[str, Any]:
    """Return the versions of the tools and the digest of the sources with which a core's counts were made."""
    stored = folder.read_json(f"{core}.json")
    assert stored is not None
    tools: Mapping[str, Any] = stored["settings"]["tools"]
    return tools
