"""The section on assumed constants: sentences and a table on how far the result moves with each constant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatesearch.report.fields import Record, read
from gatesearch.report.text import format_factor, format_micro, format_percent, format_value

MAX_DRAWN_CONSTANTS = 10
_PICKS = {None: "not known", True: "another plan", False: "the same"}


def list_rows(record: Record) -> list[Mapping[str, Any]]:
    """Return the groups and then the constants, each sorted by influence, the largest first."""
    return [*read(record, "sensitivity", "groups", default=()), *read(record, "sensitivity", "constants", default=())]


def select_rows(record: Record) -> list[Mapping[str, Any]]:
    """Return the rows to draw: the groups, the ten most important constants, and others that change the pick."""
    groups = len(read(record, "sensitivity", "groups", default=()))
    selected = []
    for index, row in enumerate(list_rows(record)):
        gains = {gain for _, gain in list_gains(row)}
        is_group = index < groups
        is_top = index < groups + MAX_DRAWN_CONSTANTS and len(gains) > 1
        if gains and (is_group or is_top or read(row, "other_plan")):
            selected.append(row)
    return selected


def list_gains(row: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Return the pairs of factor and gain in a row, in the order of the factors."""
    pairs = [(read(answer, "factor"), read(answer, "gain")) for answer in read(row, "answers", default=())]
    return sorted((factor, gain) for factor, gain in pairs if factor is not None and gain is not None)


def build_sentences(record: Record) -> list[str]:
    """Return the sentences of the section; empty until the run has computed the sensitivity."""
    answer = read(record, "sensitivity", default={})
    gain = read(answer, "nominal", "gain")
    if gain is None:
        return []
    constants = read(answer, "constants", default=())
    if not constants:
        return ["No constant of the device is assumed."]
    share = format_percent(max((abs(factor - 1) for factor in read(answer, "factors", default=())), default=None), 0)
    moves = (
        f"{len(constants)} constants of the device are assumed, not measured. With any one of them, or one group, "
        f"{share} less or {share} more, the gain of {format_factor(gain)} becomes "
        f"{format_factor(read(answer, 'gain_low'))} to {format_factor(read(answer, 'gain_high'))}"
        f"{_describe_together(answer)}."
    )
    if read(answer, "nominal", "picked") is None:
        return [moves]
    others = [format_value(read(row, "name")) for row in constants if read(row, "other_plan")]
    if others:
        return [
            moves,
            f"Another of the search's plans would be picked if one of these had another value: {', '.join(others)}.",
        ]
    return [moves, "None of them by itself makes another of the search's plans the pick."]


def build_table(record: Record) -> list[dict[str, Any]]:
    """Return a row for each group and each constant: name, value, unit, energy and gain by factor, pick."""
    rows = []
    for row in list_rows(record):
        members = len(read(row, "constants", default=()))
        answers = [
            {
                "factor": format_factor(read(answer, "factor")),
                "energy": format_micro(read(answer, "energy_uj"), "J"),
                "gain": format_factor(read(answer, "gain")),
            }
            for answer in read(row, "answers", default=())
        ]
        rows.append(
            {
                "name": format_value(read(row, "name")),
                "is_group": read(row, "value") is None,
                "value": format_value(read(row, "value", default=_count_constants(members))),
                "unit": read(row, "unit", default=""),
                "answers": answers,
                "pick": _PICKS[read(row, "other_plan")],
            }
        )
    return rows


def _describe_together(answer: Mapping[str, Any]) -> str:
    """Return a clause on the gain if all constants change at once, all to their worse or all to their better side."""
    gains = [read(extreme, "gain") for extreme in read(answer, "together", default=())]
    gains = [gain for gain in gains if gain is not None]
    if not gains:
        return ""
    low, high = format_factor(min(gains)), format_factor(max(gains))
    return f"; if all of them change at once, each to its worse or each to its better side, it becomes {low} to {high}"


def _count_constants(count: int) -> str:
    return "1 constant" if count == 1 else f"{count} constants"
