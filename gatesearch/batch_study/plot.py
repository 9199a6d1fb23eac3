"""The figure of a study: steps against batch size, the best rates against the rules, errors under equal budgets."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gatesearch.batch_study.analysis import Fit
from gatesearch.report import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"perfect scaling": "#0072b2", "diminishing returns": "#e69f00", "maximal parallelism": "#d55e00"}
OTHER = "#009e73"
Points = Sequence[Mapping[str, Any]]


def draw(outcome: Mapping[str, Any], path: Path) -> None:
    """Write a PNG.

    Args:
        outcome: as :func:`gatesearch.batch_study.record.describe` returns it, with ``recipe``.
        path: of the PNG.
    """
    from matplotlib.ticker import NullLocator

    points: Points = outcome["points"]
    with style.settings():
        figure = style.figure(11.4, 4.0)
        steps, rates, errors = figure.subplots(1, 3)
        figure.suptitle(
            f"{outcome['recipe']}: steps to a validation error of {outcome['goal']:.3g}", x=0.01, ha="left", fontsize=9
        )
        _steps(steps, points, outcome["critical"])
        _rates(rates, points)
        _errors(errors, points)
        for axes in (steps, rates, errors):
            axes.set_xscale("log", base=2)
            axes.set_xlabel("batch size")
            axes.set_xticks([p["batch"] for p in points], [str(p["batch"]) for p in points], rotation=45)
            axes.xaxis.set_minor_locator(NullLocator())
            axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.2), ncols=2, handlelength=1.8, columnspacing=1)
        figure.savefig(path, format="png", dpi=150)


def _steps(axes: Axes, points: Points, critical: Mapping[str, Any] | None) -> None:
    came = [p for p in points if p["steps"] is not None]
    axes.set_yscale("log", base=2)
    if came:
        first, last = came[0], points[-1]["batch"]
        ends = [first["batch"], last]
        axes.plot(
            ends,
            [first["steps"], first["steps"] * first["batch"] / last],
            "--",
            color=style.MUTED,
            label="steps x batch constant",
        )
    if critical is not None:
        between = np.geomspace(points[0]["batch"], points[-1]["batch"], 100)
        fitted = Fit(critical["steps"], critical["value"])
        axes.plot(between, [fitted.at(batch) for batch in between], color=style.INK, lw=1, label="fit")
        low, high = (min(max(b, points[0]["batch"]), points[-1]["batch"]) for b in critical["interval"])
        if low < high:
            axes.axvspan(low, high, color=style.GRID, zorder=0, label="critical (90 %)")
    for name, colour in COLOURS.items():
        own = [p for p in came if p["regime"] == name]
        if own:
            # A bound that is infinite reaches to the top; medians need not lie between the percentiles of the draws.
            below = [max(0.0, p["steps"] - (p["interval"][0] or p["steps"])) for p in own]
            above = [max(0.0, (p["interval"][1] or p["budget"]) - p["steps"]) for p in own]
            xs, ys = [p["batch"] for p in own], [p["steps"] for p in own]
            axes.errorbar(xs, ys, yerr=[below, above], fmt="o", ms=5, capsize=2, lw=1, color=colour, label=name)
    missed = [p for p in points if p["steps"] is None]
    if missed:
        xs, ys = [p["batch"] for p in missed], [p["budget"] for p in missed]
        axes.plot(xs, ys, "^", mfc="none", color=style.INK, label="goal not reached")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylabel("steps to the goal")


def _rates(axes: Axes, points: Points) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    came = [p for p in points if p["best"] is not None]
    axes.set_yscale("log")
    for k, p in enumerate(came):
        others = p["rates"]
        label = "trials that reached it" if k == 0 else None
        axes.plot([p["batch"]] * len(others), others, ".", ms=4, color="#c3cad1", label=label)
    batches = np.array([p["batch"] for p in came], dtype=float)
    if came:
        rates = [p["best"]["rate"] for p in came]
        axes.plot(batches, rates, "o", color=style.GATED, ms=5, label="best")
        middle = int(np.argmin(np.abs(np.log(batches) - np.log(batches).mean())))
        growth = batches / batches[middle]
        axes.plot(batches, rates[middle] * growth, "--", color=style.MUTED, label="linear rule")
        axes.plot(batches, rates[middle] * np.sqrt(growth), ":", color=style.INK, label="square-root rule")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylabel("learning rate / (1 - momentum)")


def _errors(axes: Axes, points: Points) -> None:
    for key, colour, mark in (("fixed_steps", style.GATED, "o-"), ("fixed_epochs", OTHER, "s--")):
        own = [(p["batch"], 100 * statistics.median(p[key])) for p in points if p[key] and None not in p[key]]
        label = f"same {key.partition('_')[2]}"
        axes.plot(*(zip(*own, strict=True) if own else ((), ())), mark, color=colour, ms=4, label=label)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("least validation error (%)")
