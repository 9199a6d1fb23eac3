"""What the search found: the front, what became of the trials, and how the front grew."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gatesearch.report.style import GATED, INK, MUTED, PICKED, figure, legend_below
from gatesearch.report.values import Record, at, quality_word

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STATES = ("complete", "pruned", "priced_out", "duplicate", "failed")
TOLD = {"pruned": "given up early"}
_STATE_COLOURS = {
    "complete": GATED,
    "pruned": "#7fb8a8",
    "priced_out": "#9fb3c3",
    "duplicate": "#cfd6dc",
    "failed": PICKED,
}


def trained(record: Record) -> list[Mapping[str, Any]]:
    """Return the trials that were trained and priced."""
    return [
        trial
        for trial in at(record, "trials", default=())
        if at(trial, "accuracy") is not None and at(trial, "expected_energy_uj", default=0) > 0
    ]


def ungated_point(record: Record) -> tuple[float, float, str] | None:
    """Return the ungated backbone's energy in µJ, its *validation* accuracy, and where that accuracy is from.

    The reference's own accuracy is of the test split and has no place beside validation figures: a trial
    without gates is taken where there is one, else the end of the baseline's learning curve.
    """
    energy = at(record, "reference", "expected_energy_uj")
    for trial in trained(record):
        if at(trial, "plan") is not None and not at(trial, "plan", "gates", default=()):
            return float(energy or trial["expected_energy_uj"]), trial["accuracy"], "as a trial of the search"
    for curve in at(record, "curves", default=()):
        accuracy = [value for value in at(curve, "validation_accuracy", default=()) if value is not None]
        if at(curve, "name") == "baseline" and accuracy and energy:
            return float(energy), accuracy[-1], "at the end of the baseline's training"
    return None


def staircase(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points that no cheaper point equals in quality, cheapest first.

    >>> staircase([(3.0, 0.90), (1.0, 0.80), (2.0, 0.95)])
    [(1.0, 0.8), (2.0, 0.95)]
    """
    kept: list[tuple[float, float]] = []
    for energy, quality in sorted(points, key=lambda point: (point[0], -point[1])):
        if not kept or quality > kept[-1][1]:
            kept.append((energy, quality))
    return kept


def front(record: Record, width: float = 5.4, height: float = 3.7) -> Figure | None:
    """Draw validation quality against expected energy for every trained trial."""
    trials = trained(record)
    if not trials:
        return None
    best = at(record, "best", "digest")
    ungated = ungated_point(record)
    groups: list[tuple[str, list[Mapping[str, Any]], dict[str, Any]]] = [
        (
            "trained",
            [t for t in trials if not at(t, "on_front") and at(t, "feasible", default=True)],
            {"color": "#a9c4d8"},
        ),
        (
            "trained, breaks a constraint",
            [t for t in trials if not at(t, "on_front") and not at(t, "feasible", default=True)],
            {"facecolor": "none", "edgecolor": "#9aa5af"},
        ),
        ("front", [t for t in trials if at(t, "on_front")], {"color": GATED, "zorder": 3, "s": 30}),
    ]
    drawing = figure(width, height)
    axes = drawing.subplots()
    for label, members, look in groups:
        if members:
            axes.scatter(*_points(members), label=label, **{"s": 22, "linewidth": 0.9, **look})
    steps = staircase([(t["expected_energy_uj"], t["accuracy"]) for t in groups[2][1]])
    if len(steps) > 1:
        axes.step(*zip(*steps, strict=True), where="post", color=GATED, linewidth=1, alpha=0.6)
    if picked := [t for t in trials if best and at(t, "digest") == best]:
        axes.scatter(
            *_points(picked[:1]),
            s=120,
            facecolor="none",
            edgecolor=PICKED,
            linewidth=1.8,
            zorder=4,
            label="picked plan",
        )
    if ungated:
        axes.scatter(*ungated[:2], s=46, marker="D", color=INK, zorder=4, label="ungated backbone")
    axes.set_xscale("log")
    energies = [t["expected_energy_uj"] for t in trials] + ([ungated[0]] if ungated else [])
    _log_ticks(axes, energies)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g}")
    axes.set_xlabel("expected energy per window (µJ), log scale")
    axes.set_ylabel(f"validation {quality_word(record)} (%)")
    legend_below(drawing, axes)
    return drawing


def states(record: Record) -> Figure | None:
    """Draw how many proposals ended in each state."""
    from matplotlib.ticker import MaxNLocator

    counts = Counter(at(trial, "state", default="complete") for trial in at(record, "trials", default=()))
    if not counts:
        return None
    names = [*(s for s in STATES if s in counts), *(s for s in counts if s not in STATES)][::-1]
    drawing = figure(height=2.3)
    axes = drawing.subplots()
    colours = [_STATE_COLOURS.get(name, MUTED) for name in names]
    bars = axes.barh(
        [TOLD.get(name, name.replace("_", " ")) for name in names], [counts[name] for name in names], 0.6, color=colours
    )
    axes.bar_label(bars, padding=4, fontsize=8, color=INK)
    axes.margins(x=0.12)
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("proposed plans (count)")
    return drawing


def hypervolume(record: Record) -> Figure | None:
    """Draw the dominated hypervolume over the trained trials."""
    from matplotlib.ticker import MaxNLocator

    values = [value for value in at(record, "hypervolume", default=()) if value is not None]
    if not values:
        return None
    drawing = figure(height=2.3)
    axes = drawing.subplots()
    places = range(1, len(values) + 1)
    axes.step(places, values, where="post", color=GATED)
    axes.plot(len(values), values[-1], "o", color=GATED, markersize=4)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.margins(y=0.12)
    axes.set_xlabel("trained trials")
    axes.set_ylabel("hypervolume")
    return drawing


def _points(trials: Sequence[Mapping[str, Any]]) -> tuple[list[float], list[float]]:
    return [t["expected_energy_uj"] for t in trials], [t["accuracy"] for t in trials]


def _log_ticks(axes: Axes, values: Sequence[float]) -> None:
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    # Under a decade or so, powers of ten leave an axis with one tick or none.
    narrow = max(values) / min(values) < 4
    axes.xaxis.set_major_locator(MaxNLocator(6) if narrow else LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(lambda value, _: tick(value, (max(values) - min(values)) / 10))
    axes.xaxis.set_minor_formatter(NullFormatter())


def tick(value: float, apart: float) -> str:
    """Print a place on an axis with as many digits as tell it from others so far apart, never as a power of ten.

    >>> tick(640650.0, 17.0), tick(1.25, 0.05), tick(100000.0, 0.0), tick(0.5, 20.0)
    ('640,650', '1.25', '100,000', '0.5')
    """
    decimals = max(0, math.ceil(-math.log10(apart))) if apart > 0 else 0
    return f"{value:,.{decimals}f}" if value >= 1 or decimals else f"{value:.4g}"
