"""Draws the figures of cost: energy per window by term and by core, and time per window, gated beside ungated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gatesearch.report.cards import energy_card
from gatesearch.report.fields import Record, list_cores, read
from gatesearch.report.marks import mark_box
from gatesearch.report.style import (
    GATED,
    INK,
    MUTED,
    PAPER,
    TERMS,
    UNGATED,
    clear_row_axis,
    core_colours,
    figure,
    legend_below,
)
from gatesearch.report.text import format_micro

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LIGHT_COLOURS = {"#b4bcc4", "#dfe3e7", "#e69f00", "#56b4e9", "#7fbfa9"}  # bars with dark text
_BAR_HEIGHT = 0.55
_MIN_LABELLED_SHARE = 0.09  # smallest segment that has room for a number, as a share of the longest bar
_NOT_SPLIT = "total, not split"


def draw_terms(record: Record) -> Figure | None:
    """Draw the expected energy of a window, split by its terms, such as sensor, transfer or compute."""
    gated = read(record, "energy", "by_term", default={})
    terms = [term for term in TERMS if term in gated] + [term for term in gated if term not in TERMS]
    colours = {term: TERMS.get(term, MUTED) for term in terms}
    return _draw_split(record, "by_term", colours, height=2.4)


def draw_cores(record: Record) -> Figure | None:
    """Draw the expected energy of a window split by the core that spends it."""
    # This figure is lower than the figure of the terms, because its legend has one row less.
    return _draw_split(record, "by_core", core_colours(list_cores(record)), height=2.22)


def draw_streaming(record: Record) -> Figure | None:
    """Draw the time a window takes in a stream, gated and ungated."""
    gated, ungated = read(record, "streaming", "gated_us"), read(record, "streaming", "ungated_us")
    if gated is None or ungated is None:
        return None
    scale, unit = (1e-3, "ms") if max(gated, ungated) >= 1000 else (1.0, "µs")
    drawing = figure(height=1.7)
    axes = drawing.subplots()
    bars = axes.barh(["gated", "ungated"], [gated * scale, ungated * scale], _BAR_HEIGHT, color=[GATED, UNGATED])
    axes.bar_label(bars, fmt="{:.3g} " + unit, padding=4, fontsize=8, color=INK)
    axes.margins(x=0.16)
    clear_row_axis(axes)
    axes.set_xlabel(f"mean time per window ({unit})")
    return drawing


def _draw_split(record: Record, split: str, colours: Mapping[str, str], height: float) -> Figure | None:
    """Draw one stacked bar for the gated plan and one for the ungated backbone.

    Args:
        record: the record of the run.
        split: ``by_term`` or ``by_core``.
        colours: the colours of each part, in the order in which the bars are stacked.
        height: the height of the figure in inches.
    """
    gated = read(record, "energy", split, default={})
    if not any(gated.values()):
        return None
    rows: dict[str, Mapping[str, float]] = {"gated": gated}
    ungated = read(record, "energy", f"ungated_{split}")
    ungated_total = read(record, "energy", "ungated_total_uj")
    if ungated:
        rows["ungated"] = ungated
    elif ungated_total:
        rows["ungated"] = {_NOT_SPLIT: ungated_total}
        colours = {**colours, _NOT_SPLIT: UNGATED}
    drawing = figure(height=height)
    axes = drawing.subplots()
    _stack_bars(axes, rows, colours)
    for index, (bar, parts) in enumerate(rows.items()):
        left, total = 0.0, sum(value or 0.0 for value in parts.values())
        for part in colours:
            width = read(parts, part, default=0.0)
            if width:
                card = energy_card(record, bar, part, width, total)
                mark_box(axes, (left, left + width), (index - _BAR_HEIGHT / 2, index + _BAR_HEIGHT / 2), card)
            left += width
    clear_row_axis(axes)
    axes.set_xlabel("expected energy per window (µJ)")
    legend_below(drawing, axes, columns=4)
    return drawing


def _stack_bars(axes: Axes, rows: Mapping[str, Mapping[str, float]], colours: Mapping[str, str]) -> None:
    """Draw one bar for each row: the parts of its energy one after another, and the total as a number to the right."""
    longest = max(sum(value or 0 for value in parts.values()) for parts in rows.values())
    ends = dict.fromkeys(rows, 0.0)
    for part, colour in colours.items():
        widths = [read(parts, part, default=0.0) for parts in rows.values()]
        if not any(widths):
            continue
        bars = axes.barh(
            list(rows),
            widths,
            _BAR_HEIGHT,
            left=list(ends.values()),
            color=colour,
            edgecolor=PAPER,
            linewidth=0.5,
            label=part,
        )
        texts = [f"{float(f'{width:.3g}'):,g}" if width > _MIN_LABELLED_SHARE * longest else "" for width in widths]
        ink = INK if colour in _LIGHT_COLOURS else PAPER
        axes.bar_label(bars, texts, label_type="center", fontsize=7.5, color=ink)
        ends = {name: end + width for (name, end), width in zip(ends.items(), widths, strict=True)}
    for index, total in enumerate(ends.values()):
        axes.annotate(
            format_micro(total, "J"),
            (total, index),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            weight="bold",
        )
    axes.set_xlim(0, 1.18 * longest)
