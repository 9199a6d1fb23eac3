"""Rows and table of the ``boards`` page that compare Vela's estimates with published times of an Ethos-U."""

from __future__ import annotations

from collections.abc import Sequence

from gatesearch.report.rows import Row, markdown_table
from results.boards.comparison import LARGEST_ERROR
from results.boards.ethos_u import NpuTime
from results.boards.modelled_rows import modelled_rows
from results.boards.tables import mark_error


def rows(times: Sequence[NpuTime], command: str) -> list[Row]:
    """Return the estimated time of each network on each NPU, and its error."""
    return [row for time in times for row in _rows(time, command)]


def _rows(time: NpuTime, command: str) -> list[Row]:
    protocol = (
        f"Vela, {time.npu.accelerator}, {time.npu.system_config}, {time.memory}; random weights; "
        f"published: {time.published_ms:g} ms. {time.npu.source}"
    )
    figures = {"time by Vela": (time.ms, "ms"), "error of Vela's time": (time.error, "share")}
    title = f"{time.npu.title}, {time.task}, {time.npu.memories[time.memory]}"
    return modelled_rows(title, figures, protocol=protocol, command=command)


def table(times: Sequence[NpuTime]) -> str:
    """Return published and estimated times of the networks on NPUs; empty without times."""
    if not times:
        return ""
    lines = []
    for each in times:
        lines.append(
            [
                f"{each.npu.title}, {each.npu.accelerator} at {each.npu.mhz:g} MHz",
                each.npu.memories[each.memory],
                each.task,
                f"{1e3 * each.published_ms:.0f}",
                f"{1e3 * each.ms:.0f}",
                mark_error(f"{each.error:+.0%}", abs(each.error) <= LARGEST_ERROR),
            ]
        )
    return markdown_table(["part", "memories", "network", "published us", "Vela us", "error"], lines)
