"""Figures of gates: windows that reach each stage, curves of each gate, and learning curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gatesearch.report.fields import Record, list_kinds, read
from gatesearch.report.style import GATED, INK, MUTED, UNGATED, figure, kind_colours, legend_below
from gatesearch.report.text import format_kind

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CURVE_LOOKS = {"baseline": (UNGATED, ":"), "ungated": (INK, "--"), "gated": (GATED, "-")}
_GROUP_WIDTH = 0.82  # width of the bars of one stage together; stages are 1 apart
_MAX_LABELLED_BARS = 20  # with more, the numbers on the bars run into each other


def draw_reach(record: Record) -> Figure | None:
    """Draw the share of windows that reaches each stage, by kind of input."""
    stages = [stage for stage in read(record, "stages", default=()) if read(stage, "reach")]
    if not stages:
        return None
    colours = kind_colours(list_kinds(record))
    kinds = [kind for kind in colours if any(read(stage, "reach", kind) is not None for stage in stages)]
    bar_width = _GROUP_WIDTH / len(kinds)
    drawing = figure(5.4, 3.1)
    axes = drawing.subplots()
    for index, kind in enumerate(kinds):
        heights = [100 * read(stage, "reach", kind, default=0.0) for stage in stages]
        centres = np.arange(len(stages)) + (index - (len(kinds) - 1) / 2) * bar_width
        bars = axes.bar(centres, heights, 0.9 * bar_width, color=colours[kind], label=format_kind(kind))
        if len(kinds) * len(stages) <= _MAX_LABELLED_BARS:
            axes.bar_label(bars, [_format_height(height) for height in heights], padding=2, fontsize=7, color=INK)
    axes.set_xticks(
        range(len(stages)),
        [f"stage {read(stage, 'index', default='?')}\n{read(stage, 'core', default='?')}" for stage in stages],
    )
    axes.set_ylim(0, 112)
    axes.set_yticks(range(0, 101, 20))
    axes.grid(axis="x", visible=False)
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel("windows that reach the stage (%)")
    legend_below(drawing, axes, columns=min(len(kinds), 4))
    return drawing


def draw_roc(gate: Mapping[str, Any], colours: Mapping[str, str]) -> Figure | None:
    """Draw the share of each kind of negative that a gate stops, against the gate's recall of positives.

    The left half shows the whole range, the right half magnifies the high recalls at which gates work.
    """
    from matplotlib.ticker import MaxNLocator

    curves = {
        kind: curve
        for kind, curve in read(gate, "roc", default={}).items()
        if read(curve, "recall") and read(curve, "stopped")
    }
    if not curves:
        return None
    drawing = figure(4.8, 3.0)
    whole, zoom = drawing.subplots(1, 2, sharey=True)
    for axes in (whole, zoom):
        _plot_roc(axes, gate, curves, colours)
    whole.set_xlim(-0.02, 1.02)
    whole.set_title("whole range")
    recall = read(gate, "gate_recall")
    lowest = 0.9 if recall is None else min(0.9, np.floor(20 * recall) / 20)
    zoom.set_xlim(lowest - 0.002, 1.002)
    zoom.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    zoom.set_title(f"from {100 * lowest:.0f} %")
    whole.set_ylabel("negatives stopped (%)")
    legend_below(drawing, whole, columns=2)
    return drawing


def draw_learning(record: Record, quantity: str, label: str, in_percent: bool) -> Figure | None:
    """Draw one quantity of every training against epochs."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    drawing = figure(height=2.7)
    axes = drawing.subplots()
    for curve in read(record, "curves", default=()):
        _plot_curve(axes, curve, quantity)
    if not axes.lines:
        return None
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if in_percent:
        # Without this bound, the low first epochs would flatten the differences between the later ones.
        axes.set_ylim(bottom=max(axes.get_ylim()[0], axes.dataLim.y1 - 0.2))
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=None, symbol=""))
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    legend_below(drawing, axes)
    return drawing


def _plot_roc(
    axes: Axes, gate: Mapping[str, Any], curves: Mapping[str, Mapping[str, Any]], colours: Mapping[str, str]
) -> None:
    """Draw the share of negatives that a gate stops against its recall, with target and operating point."""
    from matplotlib.ticker import PercentFormatter

    recall, target = read(gate, "gate_recall"), read(gate, "recall_target")
    for kind, curve in curves.items():
        colour = read(colours, kind, default=MUTED)
        axes.plot(curve["recall"], curve["stopped"], color=colour, label=f"{format_kind(kind)} stopped")
        stopped = read(gate, "early_stop", kind)
        if recall is not None and stopped is not None:
            axes.plot(recall, stopped, "o", markersize=6, color=colour, markeredgecolor=INK, zorder=4)
    if target is not None:
        axes.axvline(target, color=MUTED, linewidth=0.9, linestyle="--", label="recall target")
    if recall is not None:
        axes.plot([], [], "o", color="none", markeredgecolor=INK, markersize=6, label="operating point")
    axes.set_ylim(-0.03, 1.03)
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0, symbol=""))
    axes.xaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0, symbol=""))
    axes.set_xlabel("gate recall of positives (%)")


def _plot_curve(axes: Axes, curve: Mapping[str, Any], quantity: str) -> None:
    pairs = zip(read(curve, "epochs", default=()), read(curve, quantity, default=()), strict=False)
    points = [(epoch, value) for epoch, value in pairs if value is not None]
    if not points:
        return
    name = read(curve, "name", default="")
    colour, dash = _CURVE_LOOKS.get(name.partition(" ")[0], (MUTED, "-."))
    marker = "o" if len(points) == 1 else None  # one epoch makes no line
    epochs, values = zip(*points, strict=True)
    axes.plot(epochs, values, dash, color=colour, label=name or "?", marker=marker, markersize=4)


def _format_height(value: float) -> str:
    return f"{value:.0f}" if value >= 10 or value == 0 else f"{value:.1f}"
