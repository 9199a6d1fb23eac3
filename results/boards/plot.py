"""Plots predicted against published latencies of boards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gatesearch.report import style
from results.boards.comparison import LARGEST_ERROR, Comparison
from results.boards.networks import NETWORKS

COLOURS = (
    "#0072b2", "#56b4e9", "#003f66", "#009e73", "#7fbfa9", "#0d4f45",
    "#8d7cb8", "#4b3b7a", "#e69f00", "#d55e00", "#cc79a7", "#6b7280",
)  # fmt: skip
MARKS = ("o", "s", "^", "D")


def draw(comparisons: Sequence[Comparison], path: Path) -> None:
    """Write a PNG: a colour for each part, a marker for each network, a band for the target."""
    with style.settings():
        figure = style.figure(6.4, 5.6)
        axes = figure.subplots()
        times = [ms for each in comparisons for ms in (*each.system.ms.values(), *each.predicted_ms.values())]
        ends = [0.7 * min(times), 1.4 * max(times)]
        low, high = ([(1 + sign * LARGEST_ERROR) * end for end in ends] for sign in (-1, 1))
        axes.fill_between(ends, low, high, color=style.GRID, zorder=0, label=f"within {LARGEST_ERROR:.0%}")
        axes.plot(ends, ends, color=style.MUTED, linewidth=0.8, zorder=1)
        for comparison, colour in zip(comparisons, COLOURS, strict=False):
            for task, mark in zip(NETWORKS, MARKS, strict=True):
                published, predicted = comparison.system.ms[task], comparison.predicted_ms[task]
                axes.scatter(published, predicted, s=20, marker=mark, color=colour, zorder=2, linewidths=0)
            axes.scatter([], [], s=20, color=colour, label=f"{comparison.part.title}, {comparison.part.core}")
        for task, mark in zip(NETWORKS, MARKS, strict=True):
            axes.scatter([], [], s=20, marker=mark, color=style.MUTED, label=f"{task}: {NETWORKS[task].title}")
        axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:g}")
        axes.set_xlabel("published latency, ms")
        axes.set_ylabel("predicted latency, ms")
        axes.set_title("Four networks on microcontrollers, each left out of its fit")
        axes.legend(fontsize=6.5, loc="upper left")
        figure.savefig(path, format="png", dpi=150)
