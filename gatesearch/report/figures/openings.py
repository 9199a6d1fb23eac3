"""Figures of gates on the test stream: how long and how often they open, and what they stop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gatesearch.report.fields import Record, read
from gatesearch.report.stream_names import COLOURS, NAMES, list_results
from gatesearch.report.style import INK, MUTED, clear_row_axis, figure, legend_below
from gatesearch.report.text import format_kind, format_percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_GROUP_WIDTH = 0.8  # width of the bars of one background together; backgrounds are 1 apart


def draw_openings(record: Record) -> Figure | None:
    """Draw the share of time for which each gate is open, and its openings per hour, one row per gate."""
    rows = [row for name, figures in list_results(record) for row in _list_gates(name, figures)]
    if not rows:
        return None
    rows.reverse()  # axes count from the bottom
    drawing = figure(6.4, 1.1 + 0.36 * len(rows))
    left, right = drawing.subplots(1, 2, sharey=True)
    labels, colours = [row["label"] for row in rows], [row["colour"] for row in rows]
    shares, openings = [row["open_share"] for row in rows], [row["openings"] for row in rows]
    texts = ([format_percent(share) for share in shares], [f"{count:,.0f}" for count in openings])
    titles = ("share of time open (%)", "openings an hour")
    for axes, values, written, title in zip(
        (left, right), ([100 * share for share in shares], openings), texts, titles, strict=True
    ):
        bars = axes.barh(range(len(rows)), values, 0.62, color=colours)
        axes.bar_label(bars, written, padding=4, fontsize=8, color=INK)
        axes.set_xlim(0, 1.25 * max(*values, 1e-9))
        axes.set_xlabel(title)
        clear_row_axis(axes)
    left.set_yticks(range(len(rows)), labels)
    return drawing


def draw_stops(record: Record) -> Figure | None:
    """Draw the share of hops that gates stop, by background: the picked plan beside other methods with gates."""
    from matplotlib.ticker import PercentFormatter

    stops = {
        name: read(figures, "stop_by_background", default={})
        for name, figures in list_results(record)
        if any(read(figures, "stop_by_background", default={}).values())
    }
    if not stops:
        return None
    kinds = list(dict.fromkeys(kind for by_kind in stops.values() for kind in by_kind))
    drawing = figure(6.4, 2.9)
    axes = drawing.subplots()
    width = _GROUP_WIDTH / len(stops)
    for place, (name, by_kind) in enumerate(stops.items()):
        offset = (place - (len(stops) - 1) / 2) * width
        values = [by_kind.get(kind, 0.0) for kind in kinds]
        bars = axes.bar(
            [k + offset for k in range(len(kinds))],
            values,
            0.92 * width,
            color=COLOURS.get(name, MUTED),
            label=NAMES.get(name, name),
        )
        axes.bar_label(bars, [f"{100 * value:.0f}" for value in values], padding=1, fontsize=7, color=INK)
    axes.set_xticks(range(len(kinds)), [format_kind(kind).replace("_", " ") for kind in kinds])
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="x", visible=False)
    axes.set_ylim(0, 1.08)
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0, symbol=""))
    axes.set_ylabel("hops stopped (%)")
    legend_below(drawing, axes)
    return drawing


def _list_gates(name: str, figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each gate; the first part behind a gate tells how long and how often the gate is open."""
    rows: list[dict[str, Any]] = []
    before: tuple[float, float] = (1.0, 0.0)
    for part in read(figures, "parts", default=()):
        share, openings = read(part, "open_share", default=1.0), read(part, "openings_per_hour", default=0.0)
        if read(part, "runs") != "demand" or (share, openings) == before:
            continue  # the part runs all the time, or together with the part before it
        before = (share, openings)
        rows.append(
            {
                "label": f"{NAMES.get(name, name)}:\nopens {part['name']}",
                "colour": COLOURS.get(name, MUTED),
                "open_share": share,
                "openings": openings,
            }
        )
    return rows
