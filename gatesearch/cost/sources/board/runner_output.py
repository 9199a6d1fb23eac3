"""Reads and checks the lines that the runner of a kit prints.

A kit is a folder of C sources that times kernels on a board; its program, the runner, prints a line for each call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Literal, NamedTuple, cast

from gatesearch.cost.sources.board.rows import FORMAT, THOUSANDTHS
from gatesearch.cost.sources.board.table import UNITS
from gatesearch.errors import UserError

HEAD = ("gatesearch", "kit", "unit", "tile", "end")


class Row(NamedTuple):
    """The runner's row of a call: its shortest time, its median time, and the share of open outputs of its gate."""

    shortest: float
    median: float
    open_share: float


class RunnerOutput(NamedTuple):
    """Everything that a runner prints; rows are keyed by their index in the kit."""

    kit: str
    unit: Literal["instructions", "cycles", "ns"]
    tile: int
    rows: Mapping[int, Row]
    skipped: tuple[int, ...]


def read(where: str, text: str, total: int) -> RunnerOutput:
    """Return the values in the lines that a runner printed.

    Args:
        where: the name of the file in errors.
        text: the lines; lines before the runner's first line are ignored.
        total: number of calls of the kit.

    Raises:
        UserError: a line is not one of the runner's, the unit is unknown, or a row is missing or repeated.
    """
    head: dict[str, str] = {}
    rows: dict[int, Row] = {}
    skipped: list[int] = []
    for place, word, fields in _lines(where, text):
        if word in HEAD and len(fields) == 1:
            if word in head:
                raise UserError(f"{place}: a second {word} line; is this the output of two runs?")
            head[word] = fields[0]
        elif word == "row" and len(fields) == 4:
            index = _index(place, fields[0], total, {*rows, *skipped})
            row = Row(*(_number(place, field) / THOUSANDTHS for field in fields[1:]))
            if row.median < row.shortest:
                raise UserError(f"{place}: the median time is shorter than the shortest time")
            rows[index] = row
        elif word == "skipped" and len(fields) == 2:
            skipped.append(_index(place, fields[0], total, {*rows, *skipped}))
        else:
            raise UserError(f"{place}: a kit's runner prints no such line")
    _check_complete(where, head, total, {*rows, *skipped})
    tile = _number(f"{where}: {'tile,' + head['tile']!r}", head["tile"])
    return RunnerOutput(head["kit"], cast(Any, head["unit"]), tile=tile, rows=rows, skipped=tuple(skipped))


def _lines(where: str, text: str) -> Iterator[tuple[str, str, list[str]]]:
    """Yield the place (file, line number, text), the first word and the fields of each line, from the first line on.

    The first line is the one that begins with ``gatesearch``.
    """
    started = False
    for number, line in enumerate(text.splitlines(), 1):
        word, *fields = line.strip().split(",")
        started = started or word == HEAD[0]
        if started and word:
            yield f"{where}:{number}: {line.strip()!r}", word, fields


def _check_complete(where: str, head: Mapping[str, str], total: int, indices: AbstractSet[int]) -> None:
    for word in HEAD:
        if word not in head:
            raise UserError(f"{where}: no {word} line: the file is cut off, or it is not the output of a kit's runner")
    if head["gatesearch"] != str(FORMAT):
        raise UserError(
            f"{where}: format {head['gatesearch']!r}; this version reads {FORMAT}: write the kit again and run it"
        )
    if head["unit"] not in UNITS:
        raise UserError(f"{where}: unit {head['unit']!r} is none of {', '.join(UNITS)}")
    missing = [index for index in range(total) if index not in indices]
    if missing:
        raise UserError(f"{where}: {len(missing)} of {total} rows are missing; the first missing row is {missing[0]}")


def _index(place: str, written: str, total: int, indices: AbstractSet[int]) -> int:
    index = _number(place, written)
    if index >= total:
        raise UserError(f"{place}: the kit has {total} rows; the last row is {total - 1}")
    if index in indices:
        raise UserError(f"{place}: row {index} stands in the file twice")
    return index


def _number(place: str, written: str) -> int:
    if not written.strip().isdigit():
        raise UserError(f"{place}: {written!r} is not a whole number")
    return int(written)
