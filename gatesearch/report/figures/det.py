"""Draws a detector's DET curves (missed events over false accepts), and the latencies of detections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gatesearch.report.cards import method_card
from gatesearch.report.fields import Record, read
from gatesearch.report.marks import mark_point
from gatesearch.report.stream_names import COLOURS, DASHES, NAMES, list_results
from gatesearch.report.style import GATED, INK, MUTED, PAPER, figure, legend_below

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SPAN = 100.0  # the axis extends at least to this multiple of the wanted rate
_LATENCY_BINS = 24
_MAX_MARKS = 30  # largest number of points of a curve that answer the pointer


def draw_det(record: Record) -> Figure | None:
    """Draw miss rate over false accepts per hour, threshold by threshold, for the picked plan and each other method.

    A logarithmic axis has no zero. So a rate of 0 is drawn at the left end, as half a false accept in the whole stream.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter

    curves, hours = read(record, "stream", "curves", default={}), read(record, "stream", "hours")
    results = dict(list_results(record))
    if not curves or not hours:
        return None
    wish = read(record, "stream", "operating_point", "fa_per_hour_wanted", default=0.0)
    lowest = 0.5 / hours
    highest = max(_SPAN * wish, 20 * lowest, *(read(figures, "fa_per_hour", default=0) for figures in results.values()))
    drawing = figure(5.6, 4.2)
    axes = drawing.subplots()
    for name, curve in reversed(list(curves.items())):  # the picked plan is drawn last, on top of the others
        if name == "ungated_windows" and curve == curves.get("ungated_hops"):
            continue
        points = _visible_points(curve, lowest, highest)
        if not points:
            continue
        same = name == "ungated_hops" and curve == curves.get("ungated_windows")
        label = "ungated, hop by hop and every window" if same else NAMES.get(name, name)
        colour = COLOURS.get(name, MUTED)
        rates, misses = zip(*points, strict=True)
        axes.plot(
            rates,
            misses,
            drawstyle="steps-post",
            linestyle=DASHES.get(name, "-"),
            color=colour,
            linewidth=2.2 if name == "picked" else 1.4,
            label=label,
        )
        for place in range(0, len(points), -(-len(points) // _MAX_MARKS)):
            rate, miss = points[place]
            card = method_card(record, label, (rate if rate > lowest else 0.0, miss), None)
            mark_point(axes, rate, miss, card)
        point = results.get(name, {})
        if read(point, "miss_rate") is not None:
            rate = max(read(point, "fa_per_hour", default=0.0), lowest)
            actual = read(point, "fa_per_hour", default=0.0), point["miss_rate"]
            mark_point(axes, rate, point["miss_rate"], method_card(record, label, actual, point))
            axes.plot(rate, point["miss_rate"], "o", color=colour, markersize=6.5, markeredgecolor=PAPER, zorder=5)
    if wish:
        axes.axvline(wish, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)), label=f"wanted: {wish:g} an hour")
    axes.plot([], [], "o", color="none", markeredgecolor=INK, markersize=6, label="as set on validation")
    axes.set_xscale("log")
    axes.set_xlim(lowest * 0.85, highest)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0, symbol=""))
    axes.set_xlabel("false accepts an hour (log scale; 0 is drawn at the left end)")
    axes.set_ylabel("events missed (%)")
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda k: _legend_place(labels[k]))
    drawing.legend(
        [handles[k] for k in order], [labels[k] for k in order], loc="outside lower center", ncols=2, handlelength=2.2
    )
    return drawing


def draw_latencies(record: Record) -> Figure | None:
    """Draw the times from the end of an event to its detection, for the picked plan and the ungated backbone."""
    picked = read(record, "stream", "picked", "latencies_ms", default=())
    if not picked:
        return None
    reference = read(record, "stream", "rivals", "ungated_hops", "latencies_ms", default=())
    low, high = min([*picked, *reference, 0.0]), max([*picked, *reference, 1.0])
    step = (high - low) / _LATENCY_BINS
    edges = [low + step * k for k in range(_LATENCY_BINS + 1)]
    drawing = figure(4.8, 2.9)
    axes = drawing.subplots()
    axes.hist(picked, bins=edges, color=GATED, alpha=0.85, label=f"{NAMES['picked']} ({len(picked)})")
    if reference:
        label = f"{NAMES['ungated_hops']} ({len(reference)})"
        axes.hist(reference, bins=edges, histtype="step", color=INK, linewidth=1.3, label=label)
    if low < 0:
        axes.axvline(0, color=MUTED, linewidth=0.9)
    axes.set_xlabel("from the end of the event to its detection (ms)")
    axes.set_ylabel("detections")
    legend_below(drawing, axes, columns=2)
    return drawing


def _visible_points(curve: Mapping[str, Sequence[Any]], lowest: float, highest: float) -> list[tuple[float, float]]:
    """Return the points of a curve within the axis, from few false accepts to many."""
    pairs = zip(read(curve, "fa_per_hour", default=()), read(curve, "miss_rate", default=()), strict=False)
    points = sorted((max(rate, lowest), miss) for rate, miss in pairs if rate is not None and miss is not None)
    # A point stays only if it has fewer misses than all points at lower rates, and the fewest at its own rate.
    best: list[tuple[float, float]] = []
    for rate, miss in points:
        if best and miss >= best[-1][1]:
            continue
        if best and rate == best[-1][0]:
            best.pop()
        best.append((rate, miss))
    inside = [point for point in best if point[0] <= highest]
    return [*inside, (highest, inside[-1][1])] if inside else []


def _legend_place(label: str) -> int:
    names = list(NAMES.values())
    return names.index(label) if label in names else len(names) if "ungated" not in label else 1
