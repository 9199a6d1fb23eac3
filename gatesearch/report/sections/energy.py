"""The section on energy: the amount of each term of a window's energy, gated beside ungated."""

from __future__ import annotations

from typing import NamedTuple

from gatesearch.report.fields import Record, read


class Term(NamedTuple):
    """One row of the table; ``share`` is the term's part of the gated total."""

    name: str
    gated_uj: float
    share: float | None
    ungated_uj: float | None


def build_table(record: Record) -> list[Term]:
    """Return a row for each term that the record holds, largest first."""
    by_term = read(record, "energy", "by_term", default={})
    gated = {name: value for name, value in by_term.items() if value is not None}
    total = sum(gated.values())
    ungated = read(record, "energy", "ungated_by_term", default={})
    return [
        Term(name, value, value / total if total else None, read(ungated, name))
        for name, value in sorted(gated.items(), key=lambda item: -item[1])
    ]


def stream_ratio(record: Record) -> float | None:
    """Return the time of a window in a stream with gates, divided by the time without gates."""
    gated, ungated = read(record, "streaming", "gated_us"), read(record, "streaming", "ungated_us")
    return None if gated is None or not ungated else float(gated / ungated)
