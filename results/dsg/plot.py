"""Plots accuracy against saved work for the ``dsg`` benchmark, with points of Huang et al. 2020 in grey."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes

from gatesearch.report import style
from results.dsg.rows import BASELINES, CURVES, EQUAL, MASKED, PAIR, Spec
from results.dsg.savings import saving
from results.trainings import Result, Results

COLOURS = ("#009e73", "#0072b2", "#d55e00", "#cc79a7", "#6b7280")
GREY = "#a3abb3"


def draw(results: Results, title: str, path: Path) -> None:
    """Write a PNG of accuracy against saving.

    The left panel shows the saving by the paper's formula, the right panel the saving of the whole network.

    Args:
        results: results of trainings, by row.
        title: title of the figure.
        path: path of the PNG.
    """
    groups: Mapping[str, tuple[Sequence[Spec], str]] = {
        **{name: (specs, "o-") for name, specs in CURVES.items()},
        "PG 8/2, masks": ((*MASKED, *EQUAL), "s"),
        "no gates": (BASELINES, "D"),
    }
    with style.settings():
        figure = style.figure(8.4, 4.2)
        left, right = figure.subplots(1, 2)
        figure.suptitle(title, x=0.01, ha="left", fontsize=9)
        for axes, key, label in (
            (left, "saving_paper", "saving as the paper counts (Eq. 2 and 3)"),
            (right, "saving_network", "saving of the whole network"),
        ):
            for (name, (specs, marks)), colour in zip(groups.items(), COLOURS, strict=True):
                points = sorted(_point(results[spec.name], key) for spec in specs if spec.name in results)
                if points:
                    axes.plot(*zip(*points, strict=True), marks, color=colour, label=name, ms=4)
            axes.set_xlabel(f"{label}, x")
            axes.set_ylabel("test accuracy (%)")
        _paper(left)
        style.legend_below(figure, left, 6)
        figure.savefig(path, format="png", dpi=150)


def _point(results: Sequence[Result], key: str) -> tuple[float, float]:
    return (
        statistics.median(result[key] for result in results),
        100 * statistics.median(result["accuracy"] for result in results),
    )


def _paper(axes: Axes) -> None:
    printed = [(spec.published, spec.bits) for spec in (*MASKED, *PAIR)]
    xs = [p.saving or saving(bits, p.average_bits or bits) for p, bits in printed]
    ys = [100 * (p.accuracy or 0.0) for p, _ in printed]
    axes.plot(xs, ys, "x", color=GREY, label="paper", zorder=1)
