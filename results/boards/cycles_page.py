"""Rows and tables of the ``boards`` page that compare cycles with instructions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gatesearch.report.rows import Row, markdown_table
from results.boards import cycles
from results.boards.cycles import Outcome
from results.boards.modelled_rows import modelled_rows
from results.boards.part_factors import describe
from results.boards.tables import format_largest_error

PROTOCOL = (
    "latencies of {systems} systems of parts with Cortex-M4 or M33, {streams} streaming runs; each network left out in "
    "turn; counted instructions, or their cycles by cortex-cycle-budget {version}"
)


def rows(outcomes: Sequence[Outcome], command: str) -> list[Row]:
    """Return the mean errors of each outcome, and the number of systems for which cycles are better."""
    return [row for outcome in outcomes for row in _rows(outcome, outcomes[0], command)]


def _rows(outcome: Outcome, reference: Outcome, command: str) -> list[Row]:
    figures: dict[str, tuple[float, str]] = {
        "mean of the largest errors of latency": (outcome.mean_latency_error, "share"),
        "mean size of the error of mean power": (outcome.mean_power_error, "share"),
    }
    if outcome is not reference:
        better = float(outcome.better_systems(reference))
        figures["systems with a smaller error of latency than with instructions"] = (better, "systems")
    protocol = PROTOCOL.format(
        systems=len(outcome.comparisons), streams=len(outcome.wake_words), version=cycles.version()
    )
    return modelled_rows(outcome.name, figures, protocol=protocol, command=command)


def values(outcomes: Sequence[Outcome]) -> Mapping[str, str]:
    """Return the values of the section's template; empty without outcomes, so that the page has no such section."""
    if not outcomes:
        return {}
    spreads = (f"{outcome.spread(outcomes[0]):.0%} ({outcome.name})" for outcome in outcomes[1:])
    return {
        "latencies": _latencies(outcomes),
        "streams": _streams(outcomes),
        "version": cycles.version(),
        "spread": ", ".join(spreads),
    }


def _latencies(outcomes: Sequence[Outcome]) -> str:
    """Return the largest error of each system's latencies with instructions, and with each estimate of cycles."""
    lines = []
    for index, each in enumerate(outcomes[0].comparisons):
        errors = [format_largest_error(outcome.comparisons[index].errors) for outcome in outcomes]
        lines.append([each.part.title, describe(each.system), *errors])
    lines.append(["mean", "", *(f"{outcome.mean_latency_error:.1%}" for outcome in outcomes)])
    better = [str(outcome.better_systems(outcomes[0])) for outcome in outcomes[1:]]
    lines.append(["systems with a smaller error than with instructions", "", "", *better])
    return markdown_table(["part", "system", *(outcome.name for outcome in outcomes)], lines)


def _streams(outcomes: Sequence[Outcome]) -> str:
    """Return the errors of mean power and duty with instructions, and with each estimate of cycles."""
    lines = []
    for index, each in enumerate(outcomes[0].wake_words):
        predictions = [outcome.wake_words[index] for outcome in outcomes]
        errors = [f"{own.error:+.1%} ({own.duty / own.stream.duty - 1:+.0%})" for own in predictions]
        lines.append([each.title, f"{each.stream.mhz:g}", *errors])
    lines.append(["mean size of the error", "", *(f"{outcome.mean_power_error:.1%}" for outcome in outcomes)])
    return markdown_table(["part", "MHz", *(outcome.name for outcome in outcomes)], lines)
