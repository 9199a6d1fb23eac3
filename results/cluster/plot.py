"""Plots the efficiency of searches against the number of workers.

Efficiency is the share of the workers' time in which they run trials.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.ticker import NullLocator, PercentFormatter, StrMethodFormatter

from gatesearch.report import style

TARGET = 0.9


def draw(efficiency: Mapping[tuple[str, int], float], path: Path) -> None:
    """Write a PNG with a line for each executor and a line for the target."""
    with style.settings():
        figure = style.figure(6.4, 3.6)
        axes = figure.subplots()
        for marks, colour, name in (("o-", style.GATED, "local"), ("s--", style.PICKED, "ray")):
            points = sorted((count, value) for (executor, count), value in efficiency.items() if executor == name)
            if points:
                axes.plot(*zip(*points, strict=True), marks, color=colour, label=f"executor {name}", ms=5)
        axes.axhline(TARGET, color=style.UNGATED, linestyle=":", label="target")
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set_ylim(0, 1.05)
        axes.set_xlabel("workers (simulated beyond the cores of the machine)")
        axes.set_ylabel("share of time in trials")
        style.legend_below(figure, axes)
        figure.savefig(path, format="png", dpi=200)
