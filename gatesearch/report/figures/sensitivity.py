"""The figure of assumed constants: a tornado chart that shows how far the gain moves with each constant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gatesearch.report.fields import Record, read
from gatesearch.report.sections.sensitivity import list_gains, select_rows
from gatesearch.report.style import GATED, INK, MUTED, PAPER, PICKED, clear_row_axis, figure
from gatesearch.report.text import TIMES_SIGN

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LOW_COLOUR, _HIGH_COLOUR = "#e69f00", GATED
_GROUP_GAP = 0.6  # sets the groups apart from the constants that they consist of


def draw_tornado(record: Record) -> Figure | None:
    """Draw the gain at the low and the high end of each group of constants, and of the ten most important constants."""
    nominal = read(record, "sensitivity", "nominal", "gain")
    rows = select_rows(record)
    if nominal is None or not rows:
        return None
    groups = sum(read(row, "value") is None for row in rows)
    positions = [-index - (_GROUP_GAP if index >= groups else 0.0) for index in range(len(rows))]
    drawing = figure(6.2, 1.15 + 0.27 * len(rows))
    axes = drawing.subplots()
    for position, row in zip(positions, rows, strict=True):
        for factor, gain in list_gains(row):
            colour = _LOW_COLOUR if factor < 1 else _HIGH_COLOUR
            axes.barh(position, gain - nominal, 0.62, left=nominal, color=colour, edgecolor=PAPER, linewidth=0.4)
        _label_ends(axes, position, row)
    axes.axvline(nominal, color=INK, linewidth=1.0)
    axes.set_yticks(positions, [_shorten_name(row) for row in rows])
    for text, row in zip(axes.get_yticklabels(), rows, strict=True):
        if read(row, "other_plan"):
            text.set_color(PICKED)
    axes.margins(x=0.13)
    clear_row_axis(axes)
    axes.set_xlabel("energy gain of the picked plan, end to end")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}{TIMES_SIGN}")
    _add_legend(drawing, rows)
    return drawing


def _add_legend(drawing: Figure, rows: list[Mapping[str, Any]]) -> None:
    from matplotlib.patches import Patch

    factors = [factor for factor, _ in list_gains(rows[0])]
    low, high = (f"{100 * (factor - 1):+.0f} %".replace("-", "\u2212") for factor in (factors[0], factors[-1]))
    handles = [Patch(color=_LOW_COLOUR, label=low), Patch(color=_HIGH_COLOUR, label=high)]
    if any(read(row, "other_plan") for row in rows):
        handles.append(Patch(color=PICKED, label="in this colour: another plan is picked"))
    drawing.legend(handles=handles, loc="outside lower center", ncols=3, handlelength=1.2, columnspacing=1.4)


def _label_ends(axes: Axes, position: float, row: Mapping[str, Any]) -> None:
    """Write the lowest and the highest gain of a row beside its bars, unless both are the same after rounding."""
    gains = [gain for _, gain in list_gains(row)]
    low, high = min(gains), max(gains)
    digits = 3 if high - low > 0.02 * high else 4
    low_text, high_text = f"{low:.{digits}g}", f"{high:.{digits}g}"
    if low_text == high_text:
        return
    for gain, text, offset, align in ((low, low_text, -4, "right"), (high, high_text, 4, "left")):
        axes.annotate(
            text,
            (gain, position),
            (offset, 0),
            textcoords="offset points",
            ha=align,
            va="center",
            fontsize=7,
            color=MUTED,
        )


def _shorten_name(row: Mapping[str, Any]) -> str:
    """Return the name of a row without the parts that the names of constants share."""
    name: str = read(row, "name", default="?")
    return name.removeprefix("cores.").replace(".timing.", ".")
