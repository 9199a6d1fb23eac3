"""Prints lines, tables, progress and warnings: with rich on a terminal, as plain text elsewhere.

Results go to standard output; progress and warnings go to standard error. So a shell can redirect results alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, Protocol

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gatesearch._lib import interrupts
from gatesearch._lib.format import format_cell, format_duration
from gatesearch.errors import one_line

_PLAIN_WIDTH_CHARACTERS = 100

_warning_sinks: list[Callable[[str], None]] = []
_diversions: list[list[str]] = []
_held_warnings: list[str] = []
_warning_holds = 0


def console(stderr: bool = False) -> Console:
    """Return a new console on the current ``sys.stdout`` or ``sys.stderr``, which tests and notebooks replace."""
    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if console.is_terminal:
        return console
    return Console(
        stderr=stderr, highlight=False, markup=False, emoji=False, width=_PLAIN_WIDTH_CHARACTERS, color_system=None
    )


def say(text: str = "") -> None:
    """Print a line as it is, without wrapping and without interpreting markup."""
    console().print(Text(text), soft_wrap=True)


def warn(text: str) -> None:
    """Print a warning of one line on standard error, and pass it to the functions of :func:`pass_warnings`.

    Call this function wherever the program departs from the user's request or from what a reader expects.
    """
    line = one_line(" ".join(text.split()))
    if _diversions:
        if line not in _diversions[-1]:
            _diversions[-1].append(line)
        return
    for sink in _warning_sinks:
        sink(line)
    if _warning_holds:
        _held_warnings.append(line)
    else:
        _print_warning(line)


@contextmanager
def collect_warnings() -> Iterator[list[str]]:
    """Yield a list that collects the texts of :func:`warn`, each once; they are printed as well.

    >>> with collect_warnings() as lines:
    ...     warn("the cache is damaged")
    >>> lines
    ['the cache is damaged']
    """
    lines: list[str] = []
    with pass_warnings(lambda line: None if line in lines else lines.append(line)):
        yield lines


@contextmanager
def divert_warnings() -> Iterator[list[str]]:
    """Yield a list that collects the texts of :func:`warn`, each once; none is printed.

    Worker processes use this function; the process that started them prints the warnings.

    >>> with divert_warnings() as lines:
    ...     warn("the cache is damaged")
    >>> lines
    ['the cache is damaged']
    """
    lines: list[str] = []
    _diversions.append(lines)
    try:
        yield lines
    finally:
        _diversions.pop()


@contextmanager
def pass_warnings(sink: Callable[[str], None]) -> Iterator[None]:
    """Within the context, pass the text of each call of :func:`warn` to a function at once."""
    _warning_sinks.append(sink)
    try:
        yield
    finally:
        _warning_sinks.remove(sink)


@contextmanager
def hold_warnings() -> Iterator[None]:
    """Print the warnings of the context only when it ends, because an outside tool owns the output until then."""
    global _warning_holds
    _warning_holds += 1
    try:
        yield
    finally:
        _warning_holds -= 1
        if not _warning_holds:
            lines = _held_warnings[:]
            _held_warnings.clear()
            for line in lines:
                _print_warning(line)


def _print_warning(line: str) -> None:
    console(stderr=True).print(Text(f"warning: {line}"), soft_wrap=True)


def print_json(document: object) -> None:
    """Print one JSON document on standard output, for programs."""
    print(json.dumps(document, indent=1))


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], width_characters: int | None = None
) -> None:
    """Print a table; columns of numbers are aligned right, and None is shown as ``-``.

    Args:
        title: a line above the table.
        columns: the heads of the columns.
        rows: the rows, with one cell per column; floats are shown with four digits, other values as ``str`` gives them.
        width_characters: largest width of the table; None for the width of the terminal.
    """
    out = console()
    cells = [list(row) for row in rows]
    grid = Table(
        title=Text(title),
        title_justify="left",
        box=SIMPLE_HEAD if out.is_terminal else None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    for index, head in enumerate(columns):
        justify: Literal["left", "right"] = "right" if _is_numeric(row[index] for row in cells) else "left"
        # The first column names the row, so it is not wrapped; other columns are, if there is too little space.
        grid.add_column(Text(head), justify=justify, overflow="fold", no_wrap=index == 0)
    for row in cells:
        grid.add_row(*(Text(format_cell(value)) for value in row))
    out.print(grid, width=None if width_characters is None else min(width_characters, out.width))


class Steps(Protocol):
    """The counter of a loop whose progress :func:`progress` shows."""

    def advance(self, n: int = 1, note: str = "") -> None:
        """Count ``n`` further steps, with a note about the latest one, such as a loss."""


@contextmanager
def progress(
    total: int | None,
    label: str,
    every_s: float = 10.0,
    clock: Callable[[], float] = time.monotonic,
    *,
    done: int = 0,
) -> Iterator[Steps]:
    """Show the progress of a loop, the elapsed time and the remaining time.

    A terminal shows a bar. Elsewhere, lines are printed: one at the start, one at most every ``every_s`` seconds, and
    one at the end.

    Args:
        total: number of all steps; None if it is unknown.
        label: one or two words that name the work.
        every_s: least time in seconds between plain lines.
        clock: function that returns seconds; tests replace it.
        done: number of steps that an earlier process did. They do not count in the estimate of the remaining time.

    >>> with progress(2, "training") as steps:
    ...     for epoch in range(2):
    ...         steps.advance(note=f"loss {1 / (epoch + 1):.2f}")
    """
    out = console(stderr=True)
    if out.is_terminal:
        with _bar(out, total, label, done) as steps:
            yield steps
        return
    with _lines(out, total, label, every_s, clock, done) as steps:
        yield steps


@contextmanager
def _bar(out: Console, total: int | None, label: str, done: int) -> Iterator[Steps]:
    """Draw a bar in a terminal: count, elapsed and remaining time, and the last note."""
    from rich import progress as bars

    columns = (
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(),
        bars.TimeRemainingColumn(),
        bars.TextColumn("{task.fields[note]}", markup=False),
    )
    with bars.Progress(*columns, console=out) as display:
        task = display.add_task(label, total=total, completed=done, note="")

        class Bar:
            def advance(self, n: int = 1, note: str = "") -> None:
                interrupts.check()
                display.advance(task, n)
                if note:
                    display.update(task, note=note)

        yield Bar()


@contextmanager
def _lines(
    out: Console, total: int | None, label: str, every_s: float, clock: Callable[[], float], done: int
) -> Iterator[Steps]:
    """Print a line of progress at most every ``every_s`` seconds, where no bar can be drawn."""
    start = last_line_s = clock()
    done_before, news = done, ""

    def print_line(state: str) -> None:
        count = f"{done}/{total}" if total is not None else str(done)
        out.print(Text(f"{label}: {count}{state}{f', {news}' if news else ''}"), soft_wrap=True)

    def remaining(elapsed_s: float) -> str:
        if not total or done == done_before:
            return ""
        return f", {format_duration(elapsed_s * (total - done) / (done - done_before))} left"

    class Lines:
        def advance(self, n: int = 1, note: str = "") -> None:
            nonlocal done, last_line_s, news
            interrupts.check()
            done, news, now = done + n, note or news, clock()
            if now - last_line_s >= every_s and done != total:
                last_line_s, elapsed_s = now, now - start
                print_line(f", {format_duration(elapsed_s)} elapsed{remaining(elapsed_s)}")

    print_line("")
    try:
        yield Lines()
    except BaseException:
        print_line(f", stopped after {format_duration(clock() - start)}")
        raise
    print_line(f", done in {format_duration(clock() - start)}")


def _is_numeric(values: Iterable[object]) -> bool:
    kinds = [isinstance(value, int | float) and not isinstance(value, bool) for value in values if value is not None]
    return bool(kinds) and all(kinds)
