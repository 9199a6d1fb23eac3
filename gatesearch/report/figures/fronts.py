"""The figure of several runs' fronts: validation quality against mean power of the search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gatesearch.report.fields import list_trained, quality_name, read
from gatesearch.report.figures.front import staircase
from gatesearch.report.runs import FinishedRun
from gatesearch.report.style import GATED, NEGATIVES, figure, legend_below

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = (GATED, *NEGATIVES)


def draw_fronts(runs: Sequence[FinishedRun], width: float = 7.2, height: float = 4.2) -> Figure:
    """Draw the front of each run in a colour of its own; a ring marks the plan that the run or its user picked."""
    drawing = figure(width, height)
    axes = drawing.subplots()
    for place, run in enumerate(runs):
        colour = COLOURS[place % len(COLOURS)]
        per_mw = 1e3 * float(read(run.details, "data", "period_s", default=1.0))
        trained = list_trained(run.details)
        points = [
            (trial["expected_energy_uj"] / per_mw, trial["accuracy"]) for trial in trained if read(trial, "on_front")
        ]
        if not points:
            continue
        step_powers, step_qualities = zip(*staircase(points), strict=True)
        axes.step(step_powers, step_qualities, where="post", color=colour, linewidth=1, alpha=0.6)
        powers, qualities = zip(*points, strict=True)
        axes.scatter(powers, qualities, s=26, color=colour, zorder=3, label=f"{run.name}: {run.path.name}")
        picked = [trial for trial in trained if trial["digest"] == run.summary["best"]["digest"]][:1]
        for trial in picked:
            axes.scatter(
                trial["expected_energy_uj"] / per_mw,
                trial["accuracy"],
                s=120,
                facecolor="none",
                edgecolor=colour,
                linewidth=1.8,
                zorder=4,
            )
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g}")
    axes.set_xlabel("mean power in the search (mW)")
    axes.set_ylabel(f"validation {quality_name(runs[0].details)} (%)")
    legend_below(drawing, axes)
    return drawing
