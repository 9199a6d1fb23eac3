"""The figure of the front: validation quality of every trained trial against its expected energy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from gatesearch.report.cards import constants_of_cores, plan_card
from gatesearch.report.fields import Record, decision_name, list_trained, quality_key, quality_name, read
from gatesearch.report.marks import Card, mark_point
from gatesearch.report.style import GATED, INK, PICKED, figure, legend_below
from gatesearch.report.text import format_micro, format_percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Trial = Mapping[str, Any]


class UngatedPoint(NamedTuple):
    """The ungated backbone in the figure: expected energy in µJ, validation quality, and the origin of this quality."""

    energy_uj: float
    quality: float
    origin: str


def ungated_point(record: Record) -> UngatedPoint | None:
    """Return the point of the ungated backbone in the figure, or None where its validation quality is unknown.

    The record's ``reference`` holds the backbone's quality on the test split. That quality must not be compared with
    validation quality. So the point has the validation quality of a trial without gates. If there is no such trial, it
    has the quality at the end of the baseline's learning curve. A run for detection does not use the learning curve,
    because the curve counts windows and not detected events.
    """
    energy = read(record, "reference", "expected_energy_uj")
    for trial in list_trained(record):
        if read(trial, "plan") is not None and not read(trial, "plan", "gates", default=()):
            energy_uj = float(energy or trial["expected_energy_uj"])
            return UngatedPoint(energy_uj, trial["accuracy"], "as a trial of the search")
    for curve in read(record, "curves", default=()) if quality_key(record) != "detected" else ():
        accuracy = [value for value in read(curve, "validation_accuracy", default=()) if value is not None]
        if read(curve, "name") == "baseline" and accuracy and energy:
            return UngatedPoint(float(energy), accuracy[-1], "at the end of the baseline's training")
    return None


def staircase(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points whose quality is higher than that of every cheaper point, cheapest first.

    >>> staircase([(3.0, 0.90), (1.0, 0.80), (2.0, 0.95)])
    [(1.0, 0.8), (2.0, 0.95)]
    """
    steps: list[tuple[float, float]] = []
    for energy, quality in sorted(points, key=lambda point: (point[0], -point[1])):
        if not steps or quality > steps[-1][1]:
            steps.append((energy, quality))
    return steps


def draw_front(record: Record, width: float = 5.4, height: float = 3.7) -> Figure | None:
    """Draw validation quality against expected energy for every trained trial."""
    trials = list_trained(record)
    if not trials:
        return None
    drawing = figure(width, height)
    axes = drawing.subplots()
    _plot_trials(axes, trials)
    for trial in sorted(trials, key=lambda trial: float(trial["expected_energy_uj"])):
        mark_point(axes, trial["expected_energy_uj"], trial["accuracy"], plan_card(record, trial))
    best = read(record, "best", "digest")
    picked = [trial for trial in trials if best and read(trial, "digest") == best]
    if picked:
        look: dict[str, Any] = {"s": 120, "facecolor": "none", "edgecolor": PICKED, "linewidth": 1.8}
        axes.scatter(*_split_points(picked[:1]), **look, zorder=4, label="picked plan")
    energies = [trial["expected_energy_uj"] for trial in trials]
    ungated = ungated_point(record)
    if ungated:
        axes.scatter(
            ungated.energy_uj, ungated.quality, s=46, marker="D", color=INK, zorder=4, label="ungated backbone"
        )
        energies.append(ungated.energy_uj)
        mark_point(axes, ungated.energy_uj, ungated.quality, _ungated_card(record, ungated))
    axes.set_xscale("log")
    _set_log_ticks(axes, energies)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g}")
    axes.set_xlabel("expected energy per window (µJ), log scale")
    axes.set_ylabel(f"validation {quality_name(record)} (%)")
    legend_below(drawing, axes)
    return drawing


def _ungated_card(record: Record, ungated: UngatedPoint) -> Card:
    core = read(record, "reference", "core")
    rows = (
        ("core", core or "not recorded", ""),
        (f"validation {quality_name(record)}", format_percent(ungated.quality), "measured"),
        (f"energy a {decision_name(record)}", format_micro(ungated.energy_uj, "J"), "modelled"),
    )
    return Card("ungated backbone", rows, constants=constants_of_cores(record, [core] if core else []))


def format_tick(value: float, spacing: float) -> str:
    """Return a value on an axis as text, with enough digits to distinguish ticks of this spacing, without exponent.

    >>> format_tick(640650.0, 17.0), format_tick(1.25, 0.05), format_tick(100000.0, 0.0), format_tick(0.5, 20.0)
    ('640,650', '1.25', '100,000', '0.5')
    """
    decimals = max(0, math.ceil(-math.log10(spacing))) if spacing > 0 else 0
    return f"{value:,.{decimals}f}" if value >= 1 or decimals else f"{value:.4g}"


def _plot_trials(axes: Axes, trials: Sequence[Trial]) -> None:
    """Draw a point for each trial, and a line of steps that joins the points of the front."""
    front = [trial for trial in trials if read(trial, "on_front")]
    others = [trial for trial in trials if not read(trial, "on_front")]
    feasible = [trial for trial in others if read(trial, "feasible", default=True)]
    infeasible = [trial for trial in others if not read(trial, "feasible", default=True)]
    groups: list[tuple[str, list[Trial], dict[str, Any]]] = [
        ("trained", feasible, {"color": "#a9c4d8"}),
        ("trained, breaks a constraint", infeasible, {"facecolor": "none", "edgecolor": "#9aa5af"}),
        ("front", front, {"color": GATED, "zorder": 3, "s": 30}),
    ]
    for label, members, look in groups:
        if members:
            axes.scatter(*_split_points(members), label=label, **{"s": 22, "linewidth": 0.9, **look})
    steps = staircase([(trial["expected_energy_uj"], trial["accuracy"]) for trial in front])
    if len(steps) > 1:
        energies, qualities = zip(*steps, strict=True)
        axes.step(energies, qualities, where="post", color=GATED, linewidth=1, alpha=0.6)


def _split_points(trials: Sequence[Trial]) -> tuple[list[float], list[float]]:
    return [trial["expected_energy_uj"] for trial in trials], [trial["accuracy"] for trial in trials]


def _set_log_ticks(axes: Axes, values: Sequence[float]) -> None:
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    # If the largest value is less than 4 times the smallest, an axis with ticks at 1, 2 and 5 times powers of ten has
    # at most two ticks. Such an axis gets evenly spaced ticks instead.
    is_narrow = max(values) / min(values) < 4
    axes.xaxis.set_major_locator(MaxNLocator(6) if is_narrow else LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(lambda value, _: format_tick(value, (max(values) - min(values)) / 10))
    axes.xaxis.set_minor_formatter(NullFormatter())
