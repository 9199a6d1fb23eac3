"""What gates leave of the layers in whose place they stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gatesearch.report.style import GATED, INK, MUTED, PAPER, figure, legend_below
from gatesearch.report.values import TIMES, Record, at, percent, si

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DENSE, _OWN = "#d5dade", "#e69f00"
_CALLS = (GATED, "#56b4e9", "#009e73", "#cc79a7")


def layers(record: Record) -> Figure | None:
    """Draw each layer's dense MACs and, on top, what is left of them, call by call, in 8-bit equivalents."""
    from matplotlib.ticker import MaxNLocator

    rows = [row for row in at(record, "layers", default=()) if at(row, "macs")][::-1]  # the first layer on top
    if not rows:
        return None
    drawing = figure(5.4, 1.1 + 0.3 * len(rows))
    axes = drawing.subplots()
    places = range(len(rows))
    axes.barh(places, [row["macs"] for row in rows], 0.78, color=_DENSE, label="dense int8")
    reached = [0.0] * len(rows)
    for label, colour, widths in _parts(rows):
        axes.barh(
            places, widths, 0.46, left=reached, color=colour, edgecolor=PAPER, linewidth=0.4, label=label, zorder=3
        )
        reached = [start + width for start, width in zip(reached, widths, strict=True)]
    for place, (row, end) in enumerate(zip(rows, reached, strict=True)):
        told = f"{percent(at(row, 'share'), 0)} left" if at(row, "share") is not None else ""
        axes.annotate(
            told, (max(end, row["macs"]), place), (4, 0), textcoords="offset points", va="center", fontsize=8, color=INK
        )
    axes.set_yticks(places, [_name(row) for row in rows])
    axes.margins(x=0.16)
    axes.set_xlim(left=0)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(lambda value, _: si(value))
    axes.set_xlabel("multiply-accumulates a window, b bits of 8 counted b/8")
    legend_below(drawing, axes, columns=2)
    return drawing


def _parts(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, list[float]]]:
    """Return label, colour and width in each row, of every call and of the gates' own parts."""
    calls = [at(row, "calls", default=()) for row in rows]
    parts = []
    for place in range(max(map(len, calls))):
        here = [row[place] if place < len(row) else {} for row in calls]
        bits = {tuple(at(call, "bits")) for call in here if at(call, "bits")}
        # Where layers differ in bits, no one number is right.
        told = f", {f' {TIMES} '.join(map(str, bits.pop()))} bits" if len(bits) == 1 else ""
        widths = [at(call, "macs", default=0.0) for call in here]
        parts.append((f"call {place + 1}{told}", _CALLS[place] if place < len(_CALLS) else MUTED, widths))
    own = [at(row, "gate_macs", default=0.0) for row in rows]
    return [*parts, *([("the gates' own parts", _OWN, own)] if any(own) else [])]


def _name(row: Mapping[str, Any]) -> str:
    return at(row, "site", default="?") + ("" if at(row, "kind") else " (no gate)")
