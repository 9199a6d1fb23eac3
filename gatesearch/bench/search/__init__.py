"""`gatesearch bench search [record=kws|image]`: search engines replayed on tables in which every plan is evaluated."""

from __future__ import annotations

from pathlib import Path

from gatesearch.bench import command_line
from gatesearch.bench.search.record import record
from gatesearch.bench.search.spaces import RECORDED
from gatesearch.folder import RunFolder

WHERE = "bench search"
RUNS = Path("runs/bench-search")


def main(arguments: list[str]) -> None:
    """Record a table.

    Args:
        arguments: ``record=kws|image``.

    Raises:
        UserError: an argument is wrong.
    """
    given = dict(text.partition("=")[::2] for text in arguments)
    name = command_line.one_of(WHERE, "record", given.get("record", ""), RECORDED)
    record(RECORDED[name], RunFolder(RUNS / name))
