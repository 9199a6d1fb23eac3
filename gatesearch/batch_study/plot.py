"""The plot of a batch-size study: steps, learning rates and errors against batch size."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gatesearch.batch_study.trade_off import TradeOff
from gatesearch.report import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REGIME_COLOURS = {"perfect scaling": "#0072b2", "diminishing returns": "#e69f00", "maximal parallelism": "#d55e00"}
EPOCHS_COLOUR, TRIAL_COLOUR = "#009e73", "#c3cad1"
Points = Sequence[Mapping[str, Any]]


def draw(outcome: Mapping[str, Any], path: Path) -> None:
    """Write the plot as a PNG.

    Args:
        outcome: content of outcome.json.
        path: the path of the PNG.
    """
    from matplotlib.ticker import NullLocator

    points: Points = outcome["points"]
    batches = [point["batch"] for point in points]
    with style.settings():
        figure = style.figure(11.4, 4.0)
        steps, rates, errors = figure.subplots(1, 3)
        title = f"{outcome['recipe']}: steps to a validation error of {outcome['goal']:.3g}"
        figure.suptitle(title, x=0.01, ha="left", fontsize=9)
        _draw_steps(steps, points, outcome["critical"])
        _draw_rates(rates, points)
        _draw_errors(errors, points)
        for axes in (steps, rates, errors):
            axes.set_xscale("log", base=2)
            axes.set_xlabel("batch size")
            axes.set_xticks(batches, [str(batch) for batch in batches], rotation=45)
            axes.xaxis.set_minor_locator(NullLocator())
            axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.2), ncols=2, handlelength=1.8, columnspacing=1)
        figure.savefig(path, format="png", dpi=150)


def _draw_steps(axes: Axes, points: Points, critical: Mapping[str, Any] | None) -> None:
    """Draw the steps to the goal against the batch size, with perfect scaling and the fitted curve."""
    reached = [point for point in points if point["steps"] is not None]
    missed = [point for point in points if point["steps"] is None]
    axes.set_yscale("log", base=2)
    if reached:
        first, last_batch = reached[0], points[-1]["batch"]
        perfect = [first["steps"], first["steps"] * first["batch"] / last_batch]
        axes.plot([first["batch"], last_batch], perfect, "--", color=style.MUTED, label="steps x batch constant")
    if critical is not None:
        _draw_fit(axes, points[0]["batch"], points[-1]["batch"], critical)
    for regime, colour in REGIME_COLOURS.items():
        _draw_regime(axes, [point for point in reached if point["regime"] == regime], regime, colour)
    if missed:
        batches, budgets = [point["batch"] for point in missed], [point["budget"] for point in missed]
        axes.plot(batches, budgets, "^", mfc="none", color=style.INK, label="goal not reached")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylabel("steps to the goal")


def _draw_fit(axes: Axes, smallest: int, largest: int, critical: Mapping[str, Any]) -> None:
    """Draw the fitted hyperbola, and the interval of the critical batch size within the studied batch sizes."""
    batches = np.geomspace(smallest, largest, 100)
    fit = TradeOff(min_steps=critical["steps"], critical_batch=critical["value"])
    axes.plot(batches, [fit.steps(batch) for batch in batches], color=style.INK, lw=1, label="fit")
    low, high = (min(max(bound, smallest), largest) for bound in critical["interval"])
    if low < high:
        axes.axvspan(low, high, color=style.GRID, zorder=0, label="critical (90 %)")


def _draw_regime(axes: Axes, points: Points, regime: str, colour: str) -> None:
    if not points:
        return
    # An infinite upper bound is drawn at the budget. The steps may lie outside the percentiles of the draws, but an
    # error bar cannot have a negative length. So lengths are at least 0.
    below = [max(0.0, point["steps"] - (point["interval"][0] or point["steps"])) for point in points]
    above = [max(0.0, (point["interval"][1] or point["budget"]) - point["steps"]) for point in points]
    batches, steps = [point["batch"] for point in points], [point["steps"] for point in points]
    axes.errorbar(batches, steps, yerr=[below, above], fmt="o", ms=5, capsize=2, lw=1, color=colour, label=regime)


def _draw_rates(axes: Axes, points: Points) -> None:
    """Draw the learning rates of trials that reached the goal, and the linear and the square-root rule."""
    from matplotlib.ticker import LogLocator, NullLocator

    reached = [point for point in points if point["best"] is not None]
    axes.set_yscale("log")
    for k, point in enumerate(reached):
        label = "trials that reached it" if k == 0 else None
        batches = [point["batch"]] * len(point["rates"])
        axes.plot(batches, point["rates"], ".", ms=4, color=TRIAL_COLOUR, label=label)
    if reached:
        batch_sizes = np.array([point["batch"] for point in reached], dtype=float)
        rates = [point["best"]["rate"] for point in reached]
        axes.plot(batch_sizes, rates, "o", color=style.GATED, ms=5, label="best")
        # The two lines meet at the best rate of the middle batch size.
        middle = int(np.argmin(np.abs(np.log(batch_sizes) - np.log(batch_sizes).mean())))
        growth = batch_sizes / batch_sizes[middle]
        axes.plot(batch_sizes, rates[middle] * growth, "--", color=style.MUTED, label="linear rule")
        axes.plot(batch_sizes, rates[middle] * np.sqrt(growth), ":", color=style.INK, label="square-root rule")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylabel("learning rate / (1 - momentum)")


def _draw_errors(axes: Axes, points: Points) -> None:
    for budget, colour, marker in (("steps", style.GATED, "o-"), ("epochs", EPOCHS_COLOUR, "s--")):
        key = f"fixed_{budget}"
        trained = [point for point in points if point[key] and None not in point[key]]
        errors = [100 * statistics.median(point[key]) for point in trained]
        axes.plot([point["batch"] for point in trained], errors, marker, color=colour, ms=4, label=f"same {budget}")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("least validation error (%)")
