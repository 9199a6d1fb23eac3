"""Plots predicted against published latencies of boards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from gatesearch.report import style
from results.boards.comparison import LARGEST_ERROR, Comparison
from results.boards.networks import NETWORKS
from results.boards.part_factors import describe

COLOURS = (
    "#0072b2", "#56b4e9", "#003f66", "#009e73", "#7fbfa9", "#0d4f45",
    "#8d7cb8", "#4b3b7a", "#e69f00", "#d55e00", "#cc79a7", "#6b7280",
)  # fmt: skip
MARKS = ("o", "s", "^", "D")


def draw(comparisons: Sequence[Comparison], closest: Mapping[str, Comparison], path: Path) -> None:
    """Write a PNG: a colour for each part, a marker for each network, a band for the target.

    Args:
        comparisons: every system.
        closest: the system of each part that the price predicts best, drawn filled; all others are drawn as outlines.
        path: file to write.
    """
    with style.settings():
        figure = style.figure(6.8, 5.6)
        axes = figure.subplots()
        times = [ms for each in comparisons for ms in (*each.system.ms.values(), *each.predicted_ms.values())]
        ends = [0.7 * min(times), 1.4 * max(times)]
        low, high = ([(1 + sign * LARGEST_ERROR) * end for end in ends] for sign in (-1, 1))
        axes.fill_between(ends, low, high, color=style.GRID, zorder=0, label=f"within {LARGEST_ERROR:.0%}")
        axes.plot(ends, ends, color=style.MUTED, linewidth=0.8, zorder=1)
        colours = dict(zip(closest, COLOURS, strict=False))
        for comparison in comparisons:
            is_closest = comparison is closest[comparison.system.part]
            colour = colours[comparison.system.part]
            face = colour if is_closest else "none"
            for task, mark in zip(NETWORKS, MARKS, strict=True):
                point = (comparison.system.ms[task], comparison.predicted_ms[task])
                size, order = (22, 3) if is_closest else (12, 2)
                axes.scatter(
                    *point, s=size, marker=mark, facecolors=face, edgecolors=colour, linewidths=0.7, zorder=order
                )
        for part, colour in colours.items():
            system = closest[part].system
            axes.scatter([], [], s=22, color=colour, label=f"{closest[part].part.title}: {describe(system)}")
        for task, mark in zip(NETWORKS, MARKS, strict=True):
            axes.scatter([], [], s=22, marker=mark, color=style.MUTED, label=f"{task}: {NETWORKS[task].title}")
        axes.scatter([], [], s=12, facecolors="none", edgecolors=style.MUTED, label="other software on the same parts")
        axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:g}")
        axes.set_xlabel("published latency, ms")
        axes.set_ylabel("predicted latency, ms")
        axes.set_title("Four networks on microcontrollers, each left out of its fit")
        axes.legend(fontsize=6.5, loc="upper left")
        figure.savefig(path, format="png", dpi=150)
