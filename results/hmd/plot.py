"""Plots the quality of compressed recurrent networks against their parameters, with a panel for each task."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path

from gatesearch.report import style
from results.hmd.quality import QUALITY, displayed
from results.hmd.rows import METHODS, SPECS, TASKS
from results.trainings import Results

MARKS: Mapping[str, tuple[str, str]] = {
    "dense": ("#6b7280", "D"),
    "smaller": ("#009e73", "s-"),
    "lmf": ("#0072b2", "^-"),
    "pruned": ("#cc79a7", "v-"),
    "hmd": ("#d55e00", "o-"),
}


def draw(results: Results, title: str, path: Path) -> None:
    """Write a PNG of quality against parameters, with a curve for each method.

    Args:
        results: results of trainings, by row.
        title: title of the figure.
        path: path of the PNG.
    """
    with style.settings():
        figure = style.figure(8.4, 5.6)
        panels = figure.subplots(2, 2).flatten()
        figure.suptitle(title, x=0.01, ha="left", fontsize=9)
        for axes, (task, name) in zip(panels, TASKS.items(), strict=True):
            for method, label in METHODS.items():
                specs = [spec for spec in SPECS.values() if (spec.task, spec.method) == (task, method)]
                points = sorted(
                    (
                        results[spec.name][0]["matrix_params"] / 1e3,
                        displayed(task, statistics.median(r["quality"] for r in results[spec.name])),
                    )
                    for spec in specs
                    if spec.name in results
                )
                colour, marks = MARKS[method]
                axes.plot(*zip(*points, strict=True) if points else ((), ()), marks, color=colour, label=label, ms=4)
            axes.set_title(name, fontsize=8, loc="left")
            if not any(spec.name in results for spec in SPECS.values() if spec.task == task):
                axes.text(0.5, 0.5, "not run", transform=axes.transAxes, ha="center", color="#6b7280")
                axes.set(xticks=(), yticks=())
            axes.set_xlabel("thousand parameters in recurrent matrices")
            axes.set_ylabel(QUALITY[task].replace("over ", "over\n", 1), fontsize=7)
        style.legend_below(figure, panels[0], 5)
        figure.savefig(path, format="png", dpi=150)
