"""How far the answer moves with what is assumed, as the page tells it: a sentence or two, and a row a constant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatesearch.report.values import Record, at, micro, percent, plain, times

TOP = 10


def ranked(record: Record) -> list[Mapping[str, Any]]:
    """Return the groups, then the constants, those that matter most first."""
    return [*at(record, "sensitivity", "groups", default=()), *at(record, "sensitivity", "constants", default=())]


def shown(record: Record) -> list[Mapping[str, Any]]:
    """Return what is drawn: the groups, the ten constants that matter most, and any other that changes the pick."""
    groups = len(at(record, "sensitivity", "groups", default=()))
    drawn = []
    for place, row in enumerate(ranked(record)):
        found = {gain for _, gain in gains(row)}
        top = place < groups or (place < groups + TOP and len(found) > 1)
        if found and (top or at(row, "other_plan")):
            drawn.append(row)
    return drawn


def gains(row: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Return factor and gain, by factor."""
    pairs = [(at(answer, "factor"), at(answer, "gain")) for answer in at(row, "answers", default=())]
    return sorted((factor, gain) for factor, gain in pairs if factor is not None and gain is not None)


def sentences(record: Record) -> list[str]:
    """Return what the section says; empty until the run has asked."""
    found = at(record, "sensitivity", default={})
    gain = at(found, "nominal", "gain")
    if gain is None:
        return []
    constants = at(found, "constants", default=())
    if not constants:
        return ["No constant of the device is assumed."]
    both = [one for answer in at(found, "together", default=()) if (one := at(answer, "gain")) is not None]
    share = percent(max((abs(factor - 1) for factor in at(found, "factors", default=())), default=None), 0)
    together = (
        f"; with all of them off at once, each to its worse or to its better side, {times(min(both))} to "
        f"{times(max(both))}"
        if both
        else ""
    )
    said = [
        f"{len(constants)} constants of the device are assumed, not measured. With any one of them, or one group, "
        f"{share} less or {share} more, the gain of {times(gain)} becomes {times(at(found, 'gain_low'))} to "
        f"{times(at(found, 'gain_high'))}{together}."
    ]
    others = [plain(at(row, "name")) for row in constants if at(row, "other_plan")]
    if at(found, "nominal", "picked") is None:
        return said
    if others:
        return [*said, f"Another of the search's plans would be picked if one of these were off: {', '.join(others)}."]
    return [*said, "None of them by itself makes another of the search's plans the pick."]


def table(record: Record) -> list[dict[str, Any]]:
    """Return a row for each group and constant: name, value, unit, energy and gain by factor, the pick."""
    picks = {None: "not known", True: "another plan", False: "the same"}
    return [
        {
            "name": plain(at(row, "name")),
            "group": at(row, "value") is None,
            "value": plain(at(row, "value", default=_count(len(at(row, "constants", default=()))))),
            "unit": at(row, "unit", default=""),
            "answers": [
                {
                    "factor": f"{times(at(answer, 'factor'))}",
                    "energy": micro(at(answer, "energy_uj"), "J"),
                    "gain": times(at(answer, "gain")),
                }
                for answer in at(row, "answers", default=())
            ],
            "pick": picks[at(row, "other_plan")],
        }
        for row in ranked(record)
    ]


def _count(constants: int) -> str:
    return "1 constant" if constants == 1 else f"{constants} constants"
