"""Plots the gains of gates against the prevalence of positives, with the published range in grey."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path

from matplotlib.ticker import NullFormatter, StrMethodFormatter

from gatesearch.report import style
from results.vit_gc.measure import Outcome

PUBLISHED = (158, 30_000)  # theoretical range of ungated over gated energy (arXiv 2405.01739, abstract)
# For each line: its key in the outcomes, label, colour and marks. In the formula, R is the share of windows that reach
# the last stage, and AS is the share of zeros in the activations that pass.
LINES = (
    ("gain_idealised", "idealised: 1/(R (1 - AS))", style.NEGATIVES[0], "s-"),
    ("bound", "bound of any gate, end to end", style.UNGATED, "--"),
    ("gain_end_to_end", "gain end to end", style.GATED, "o-"),
)


def draw(outcomes: Mapping[int, Outcome], path: Path) -> None:
    """Write a PNG with a line for each kind of gain (the median over seeds) and a dot for each seed."""
    prevalences = [row["prevalence"] for row in next(iter(outcomes.values())).best["prevalence"]]
    with style.settings():
        figure = style.figure(7.2, 4.2)
        axes = figure.subplots()
        axes.axhspan(*PUBLISHED, color=style.GRID, label="published, theoretical (2405.01739)", zorder=0)
        for key, label, colour, marks in LINES:
            values = [[o.sweep(pi)[key] or float("nan") for o in outcomes.values()] for pi in prevalences]
            axes.plot(prevalences, [statistics.median(v) for v in values], marks, color=colour, label=label, ms=4)
            if key != "bound":
                for pi, seeds in zip(prevalences, values, strict=True):
                    axes.plot([pi] * len(seeds), seeds, ".", color=colour, ms=3, alpha=0.5)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_ylim(0.8, 60_000)
        for axis, form in ((axes.xaxis, "{x:g}"), (axes.yaxis, "{x:,g}x")):
            axis.set_major_formatter(StrMethodFormatter(form))
            axis.set_minor_formatter(NullFormatter())
        axes.invert_xaxis()
        axes.set_xlabel("prevalence of positives in the stream")
        axes.set_ylabel("times less energy than ungated")
        style.legend_below(figure, axes, 2)
        figure.savefig(path, format="png", dpi=200)
