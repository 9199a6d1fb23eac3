"""The section on the front: a row for each plan of the front, and for the picked plan."""

from __future__ import annotations

from typing import Any

from gatesearch.report.fields import Record, list_trained, read
from gatesearch.report.sections.layers import describe_gates

_MAX_ROWS = 12


def build_table(record: Record) -> list[dict[str, Any]]:
    """Return the trials of the front and the picked trial, cheapest first; ``gates`` holds a trial's gates as text."""
    best = read(record, "best", "digest")
    layer_kinds = read(record, "layer_kinds", default=())
    trials = [
        trial
        for trial in list_trained(record)
        if read(trial, "on_front", default=False) or (best and read(trial, "digest") == best)
    ]
    trials.sort(key=lambda trial: float(trial["expected_energy_uj"]))
    rows = []
    for trial in trials[:_MAX_ROWS]:
        phrases = describe_gates(read(trial, "plan", "gates", default=()), layer_kinds)
        rows.append({**trial, "gates": "; ".join(phrases)})
    return rows


def is_timed(record: Record) -> bool:
    """Return whether plans of the front were measured on the machine of the run."""
    return any(read(row, "measured_path_us") is not None for row in build_table(record))
