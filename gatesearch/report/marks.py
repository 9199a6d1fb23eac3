"""Marks of a figure: places that answer the pointer and the keyboard, each with a card of values.

A figure is drawn once, as SVG. Its marks are data beside the drawing, and the page's script puts them over it. Without
scripts, the drawing stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PERCENT_DIGITS = 2


@dataclass(frozen=True)
class Card:
    """What a mark tells.

    Args:
        title: the name of the thing under the mark.
        rows: a label, a value and the value's provenance (empty for none), for each line.
        command: the command that takes this plan; None where there is no such command.
        constants: places in the record's list of constants on which the values rest.
    """

    title: str
    rows: tuple[tuple[str, str, str], ...] = ()
    command: str | None = None
    constants: tuple[int, ...] = ()


@dataclass(frozen=True)
class _Mark:
    axes: Axes
    card: Card
    left: float
    bottom: float
    right: float
    top: float


_MARKS: WeakKeyDictionary[Figure, list[_Mark]] = WeakKeyDictionary()


def mark_point(axes: Axes, x: float, y: float, card: Card) -> None:
    """Mark a point, in the units of the axes."""
    _marks_of(axes).append(_Mark(axes, card, x, y, x, y))


def mark_box(axes: Axes, x: Sequence[float], y: Sequence[float], card: Card) -> None:
    """Mark a box from the first to the last ``x`` and ``y``, in the units of the axes."""
    _marks_of(axes).append(_Mark(axes, card, x[0], y[0], x[-1], y[-1]))


def _marks_of(axes: Axes) -> list[_Mark]:
    drawing = axes.get_figure(root=True)
    assert drawing is not None  # every figure of the report draws into its own axes
    return _MARKS.setdefault(drawing, [])


def place_marks(drawing: Figure) -> list[dict[str, Any]]:
    """Return the marks of a drawn figure as values for JSON, in the order in which they were added.

    ``at`` has left, top, width and height in percent of the figure. Marks outside the figure are left out.
    """
    to_share = drawing.transFigure.inverted()
    placed = []
    for mark in _MARKS.get(drawing, ()):
        corners = mark.axes.transData.transform([(mark.left, mark.bottom), (mark.right, mark.top)])
        (left, bottom), (right, top) = to_share.transform(corners)
        box = [left, 1 - top, right - left, top - bottom]
        if 0 <= left <= right <= 1 and 0 <= bottom <= top <= 1:
            at = [round(100 * float(value), _PERCENT_DIGITS) for value in box]
            card = mark.card
            placed.append(
                {
                    "at": at,
                    "title": card.title,
                    "rows": [list(row) for row in card.rows],
                    "command": card.command,
                    "constants": list(card.constants),
                }
            )
    return placed
