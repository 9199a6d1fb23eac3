"""What gatesearch says: lines, tables and progress, rich on a terminal and plain text everywhere else.

Results go to standard output, progress to standard error, so that either can be redirected alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, Protocol

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

_PLAIN_WIDTH = 100
_PREFIXES = {-12: "p", -9: "n", -6: "u", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}


def console(stderr: bool = False) -> Console:
    """Return the console of the moment: made anew, because tests and notebooks replace ``sys.stdout``."""
    made = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if made.is_terminal:
        return made
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, width=_PLAIN_WIDTH, color_system=None)


def say(text: str = "") -> None:
    """Print a line as it is: never wrapped, no markup read into it."""
    console().print(Text(text), soft_wrap=True)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; columns of numbers are aligned right, None is shown as ``-``.

    Args:
        title: a line above the table.
        columns: the heads.
        rows: a cell a column; floats are shown with four digits, anything else as ``str`` has it.
    """
    out = console()
    cells = [list(row) for row in rows]
    made = Table(
        title=Text(title),
        title_justify="left",
        box=SIMPLE_HEAD if out.is_terminal else None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    for index, head in enumerate(columns):
        justify: Literal["left", "right"] = "right" if _numeric(row[index] for row in cells) else "left"
        # The first column names the row: the others make room for it.
        made.add_column(Text(head), justify=justify, overflow="fold", no_wrap=index == 0)
    for row in cells:
        made.add_row(*(Text(_cell(value)) for value in row))
    out.print(made)


class Steps(Protocol):
    """What :func:`progress` hands out."""

    def advance(self, n: int = 1, note: str = "") -> None:
        """Count ``n`` steps more; ``note`` is the latest news, such as a loss."""


@contextmanager
def progress(
    total: int | None,
    label: str,
    every_s: float = 10.0,
    clock: Callable[[], float] = time.monotonic,
    *,
    done: int = 0,
) -> Iterator[Steps]:
    """Show how far a loop is, the time it took and the time it will take.

    A bar on a terminal; elsewhere a line at the start, one every ``every_s`` seconds at most, one at the end.

    Args:
        total: steps in all; None where nobody knows.
        label: what is being done, in a word or two.
        every_s: seconds between plain lines.
        clock: seconds, for tests.
        done: steps that an earlier session took; how long the rest takes is told by this session alone.

    >>> with progress(2, "training") as steps:
    ...     for epoch in range(2):
    ...         steps.advance(note=f"loss {1 / (epoch + 1):.2f}")
    """
    out = console(stderr=True)
    shown = _bar(out, total, label, done) if out.is_terminal else _lines(out, total, label, every_s, clock, done)
    with shown as steps:
        yield steps


@contextmanager
def _bar(out: Console, total: int | None, label: str, done: int) -> Iterator[Steps]:
    from rich import progress as bars

    columns = (
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(),
        bars.TimeRemainingColumn(),
        bars.TextColumn("{task.fields[note]}", markup=False),
    )
    with bars.Progress(*columns, console=out) as shown:
        task = shown.add_task(label, total=total, completed=done, note="")

        class Bar:
            def advance(self, n: int = 1, note: str = "") -> None:
                shown.advance(task, n)
                if note:
                    shown.update(task, note=note)

        yield Bar()


@contextmanager
def _lines(
    out: Console, total: int | None, label: str, every_s: float, clock: Callable[[], float], done: int
) -> Iterator[Steps]:
    start = told = clock()
    before, news = done, ""

    def tell(state: str) -> None:
        of = f"{done}/{total}" if total is not None else str(done)
        out.print(Text(f"{label}: {of}{state}{f', {news}' if news else ''}"), soft_wrap=True)

    class Lines:
        def advance(self, n: int = 1, note: str = "") -> None:
            nonlocal done, told, news
            done, news, now = done + n, note or news, clock()
            if now - told >= every_s and done != total:
                told, elapsed = now, now - start
                left = (
                    f", {duration(elapsed * (total - done) / (done - before))} left" if total and done > before else ""
                )
                tell(f", {duration(elapsed)} elapsed{left}")

    tell("")
    try:
        yield Lines()
    except BaseException:
        tell(f", stopped after {duration(clock() - start)}")
        raise
    tell(f", done in {duration(clock() - start)}")


def si(value: float | None, unit: str, digits: int = 3) -> str:
    """Return a figure with an SI prefix; ``value`` is in the bare unit, None is shown as ``-``.

    >>> si(12.3e-6, "J"), si(0.99996, "s"), si(0, "W"), si(None, "J"), si(2_500_000, "MAC", 2)
    ('12.3 uJ', '1 s', '0 W', '-', '2.5 MMAC')
    """
    if value is None:
        return "-"
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {unit}"
    rounded = float(f"{value:.{digits - 1}e}")  # first, so that 999.96 m becomes 1
    power = min(max(3 * math.floor(math.log10(abs(rounded)) / 3 + 1e-12), min(_PREFIXES)), max(_PREFIXES))
    return f"{rounded / 10**power:.{digits}g} {_PREFIXES[power]}{unit}"


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share as a percentage.

    >>> percent(0.9951), percent(None)
    ('99.5 %', '-')
    """
    return "-" if share is None else f"{100 * share:.{digits}f} %"


def duration(seconds: float) -> str:
    """Return a time span as people read a clock.

    >>> duration(7.4), duration(83), duration(3725)
    ('7 s', '1:23', '1:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}" if minutes else f"{rest} s"


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _numeric(values: Iterable[object]) -> bool:
    kinds = [isinstance(value, int | float) and not isinstance(value, bool) for value in values if value is not None]
    return bool(kinds) and all(kinds)
