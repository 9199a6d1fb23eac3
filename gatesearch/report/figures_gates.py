"""What the gates do: who reaches which stage, what each gate trades, and how the networks learned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gatesearch.report.style import GATED, INK, MUTED, UNGATED, figure, kind_colours, legend_below
from gatesearch.report.values import Record, at, kind_label, kinds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CURVES = {"baseline": (UNGATED, ":"), "ungated": (INK, "--"), "gated": (GATED, "-")}


def reach(record: Record) -> Figure | None:
    """Draw the share of windows that reaches each stage, by kind of input."""
    stages = [stage for stage in at(record, "stages", default=()) if at(stage, "reach")]
    if not stages:
        return None
    colours = kind_colours(kinds(record))
    shown = [kind for kind in colours if any(at(stage, "reach", kind) is not None for stage in stages)]
    bar = 0.82 / len(shown)
    drawing = figure(5.4, 3.1)
    axes = drawing.subplots()
    for place, kind in enumerate(shown):
        heights = [100 * at(stage, "reach", kind, default=0.0) for stage in stages]
        lefts = np.arange(len(stages)) + (place - (len(shown) - 1) / 2) * bar
        bars = axes.bar(lefts, heights, 0.9 * bar, color=colours[kind], label=kind_label(kind))
        if len(shown) * len(stages) <= 20:
            axes.bar_label(bars, [_short(height) for height in heights], padding=2, fontsize=7, color=INK)
    axes.set_xticks(
        range(len(stages)),
        [f"stage {at(stage, 'index', default='?')}\n{at(stage, 'core', default='?')}" for stage in stages],
    )
    axes.set_ylim(0, 112)
    axes.set_yticks(range(0, 101, 20))
    axes.grid(axis="x", visible=False)
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel("windows that reach the stage (%)")
    legend_below(drawing, axes, columns=min(len(shown), 4))
    return drawing


def roc(gate: Mapping[str, Any], colours: Mapping[str, str]) -> Figure | None:
    """Draw one gate's share of each kind of negative stopped against its recall of positives."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    curves = {
        kind: curve
        for kind, curve in at(gate, "roc", default={}).items()
        if at(curve, "recall") and at(curve, "stopped")
    }
    if not curves:
        return None
    drawing = figure(4.8, 3.0)
    whole, zoom = drawing.subplots(1, 2, sharey=True)
    recall, target = at(gate, "gate_recall"), at(gate, "recall_target")
    for axes in (whole, zoom):
        for kind, curve in curves.items():
            colour = at(colours, kind, default=MUTED)
            axes.plot(curve["recall"], curve["stopped"], color=colour, label=f"{kind_label(kind)} stopped")
            stopped = at(gate, "early_stop", kind)
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
    whole.set_xlim(-0.02, 1.02)
    whole.set_title("whole range")
    low = 0.9 if recall is None else min(0.9, np.floor(20 * recall) / 20)
    zoom.set_xlim(low - 0.002, 1.002)
    zoom.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    zoom.set_title(f"from {100 * low:.0f} %")
    whole.set_ylabel("negatives stopped (%)")
    legend_below(drawing, whole, columns=2)
    return drawing


def learning(record: Record, quantity: str, label: str, share: bool) -> Figure | None:
    """Draw one quantity of every training against epochs; ``share`` prints it in per cent."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    drawing = figure(height=2.7)
    axes = drawing.subplots()
    for curve in at(record, "curves", default=()):
        pairs = zip(at(curve, "epochs", default=()), at(curve, quantity, default=()), strict=False)
        known = [(epoch, value) for epoch, value in pairs if value is not None]
        if known:
            colour, dash = _CURVES.get(at(curve, "name", default="").partition(" ")[0], (MUTED, "-."))
            mark = "o" if len(known) == 1 else None  # one epoch is no line
            axes.plot(
                *zip(*known, strict=True),
                dash,
                color=colour,
                label=at(curve, "name", default="?"),
                marker=mark,
                markersize=4,
            )
    if not axes.lines:
        return None
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if share:
        # The first epochs of a network that starts from nothing would flatten what is to be compared.
        axes.set_ylim(bottom=max(axes.get_ylim()[0], axes.dataLim.y1 - 0.2))
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=None, symbol=""))
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    legend_below(drawing, axes)
    return drawing


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 10 or value == 0 else f"{value:.1f}"
