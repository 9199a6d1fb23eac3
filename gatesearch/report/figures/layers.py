"""The figure of gated layers: multiply-accumulates (MACs) of each dense layer, and MACs with its gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from gatesearch.report.fields import Record, read
from gatesearch.report.style import GATED, INK, MUTED, PAPER, clear_row_axis, figure, legend_below
from gatesearch.report.text import TIMES_SIGN, format_percent, format_si

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DENSE_COLOUR, _OWN_COLOUR = "#d5dade", "#e69f00"
_CALL_COLOURS = (GATED, "#56b4e9", "#009e73", "#cc79a7")


class _Segment(NamedTuple):
    """One part of the stacked bars: its label, its colour, and its width in each row."""

    label: str
    colour: str
    widths: list[float]


def draw_layers(record: Record) -> Figure | None:
    """Draw each layer's dense MACs and, on top, the remaining MACs of each kernel call of its gate, in 8-bit units.

    A MAC with b bits instead of 8 counts as b/8.
    """
    from matplotlib.ticker import MaxNLocator

    rows = [row for row in read(record, "layers", default=()) if read(row, "macs")]
    rows.reverse()  # an axis counts from the bottom, but the first layer belongs on top
    if not rows:
        return None
    drawing = figure(5.4, 1.1 + 0.3 * len(rows))
    axes = drawing.subplots()
    positions = range(len(rows))
    axes.barh(positions, [row["macs"] for row in rows], 0.78, color=_DENSE_COLOUR, label="dense int8")
    ends = [0.0] * len(rows)
    for segment in _list_segments(rows):
        axes.barh(
            positions,
            segment.widths,
            0.46,
            left=ends,
            color=segment.colour,
            edgecolor=PAPER,
            linewidth=0.4,
            label=segment.label,
            zorder=3,
        )
        ends = [end + width for end, width in zip(ends, segment.widths, strict=True)]
    for position, row, end in zip(positions, rows, ends, strict=True):
        axes.annotate(
            "" if read(row, "share") is None else f"{format_percent(row['share'], 0)} left",
            (max(end, row["macs"]), position),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=INK,
        )
    axes.set_yticks(positions, [_name_row(row) for row in rows])
    axes.margins(x=0.16)
    axes.set_xlim(left=0)
    clear_row_axis(axes)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(lambda value, _: format_si(value))
    axes.set_xlabel("multiply-accumulates a window, one with b bits counted as b/8")
    legend_below(drawing, axes, columns=2)
    return drawing


def _list_segments(rows: Sequence[Mapping[str, Any]]) -> list[_Segment]:
    """Return a segment for each call of the layers, and one for the gates' own work."""
    calls_by_row = [read(row, "calls", default=()) for row in rows]
    segments = []
    for index in range(max(map(len, calls_by_row))):
        calls = [calls[index] if index < len(calls) else {} for calls in calls_by_row]
        bits = {tuple(read(call, "bits")) for call in calls if read(call, "bits")}
        # The label names the bits only where all layers agree on them.
        precision = f", {f' {TIMES_SIGN} '.join(map(str, bits.pop()))} bits" if len(bits) == 1 else ""
        colour = _CALL_COLOURS[index] if index < len(_CALL_COLOURS) else MUTED
        widths = [read(call, "macs", default=0.0) for call in calls]
        segments.append(_Segment(f"call {index + 1}{precision}", colour, widths))
    own = [read(row, "gate_macs", default=0.0) for row in rows]
    if any(own):
        segments.append(_Segment("the gates' own parts", _OWN_COLOUR, own))
    return segments


def _name_row(row: Mapping[str, Any]) -> str:
    name: str = read(row, "site", default="?")
    return name if read(row, "kind") else f"{name} (no gate)"
