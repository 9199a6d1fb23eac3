"""Plots the share of the true hypervolume against evaluations, for each search engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gatesearch.report import style
from results.search.replays import REACHED_SHARE, Outcome

MAX_EVALUATIONS = 80
COLOURS = {
    "GateSampler": "#d55e00",
    "random": "#b4bcc4",
    "sparse random": "#6b7280",
    "Optuna TPE": "#56b4e9",
    "Optuna TPE (multivariate)": "#0072b2",
    "Optuna NSGA-II": "#009e73",
    "Optuna GPSampler": "#cc79a7",
    "pymoo NSGA-II": "#e69f00",
    "Syne Tune MO-ASHA": "#8d7cb8",
}


def draw(outcomes: Sequence[Outcome], path: Path) -> None:
    """Write a PNG with a panel for each table, and for each engine a curve of the median and a band of quartiles."""
    tables = list(dict.fromkeys(outcome.table for outcome in outcomes))
    with style.settings():
        figure = style.figure(4.4 * len(tables), 4.4)
        panels = figure.subplots(1, len(tables), sharey=True, squeeze=False)[0]
        for axes, table in zip(panels, tables, strict=True):
            for outcome in (o for o in outcomes if o.table == table):
                length = min(MAX_EVALUATIONS, outcome.evaluations)
                # If a replay ended early, its curve continues at its last value.
                curves = np.array([[*curve, *[curve[-1]] * length][:length] for curve in outcome.curves.values()])
                low, middle, high = np.quantile(curves, (0.25, 0.5, 0.75), axis=0)
                evaluations, colour = np.arange(1, length + 1), COLOURS[outcome.engine]
                width = 2.4 if outcome.engine == "GateSampler" else 1.2
                axes.plot(evaluations, middle, lw=width, color=colour, label=outcome.engine)
                axes.fill_between(evaluations, low, high, color=colour, alpha=0.12, lw=0)
            axes.axhline(REACHED_SHARE, color="#5f6b76", lw=0.8, ls=":")
            axes.set(xlabel="evaluations", title=f"table {table}", ylim=(0, 1.03), xlim=(0, MAX_EVALUATIONS))
        panels[0].set_ylabel("share of the true hypervolume")
        style.legend_below(figure, panels[0], 3)
        path.parent.mkdir(exist_ok=True)
        figure.savefig(path, format="png", dpi=150)
