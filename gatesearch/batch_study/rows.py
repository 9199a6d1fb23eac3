"""Turns the figures of a batch-size study into the rows of rows.json."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from gatesearch.report.rows import Row


def build_rows(outcome: Mapping[str, Any]) -> list[Row]:
    """Return a row for each figure of a study; a batch size that does not reach the goal has no row for its steps."""
    repeat_seeds = tuple(range(1, outcome["settings"]["seeds"] + 1))
    study_seed = (outcome["seed"],)
    rows = []

    def add(name: str, values: Sequence[float], unit: str, seeds: tuple[int, ...]) -> None:
        rows.append(
            Row(
                name=f"{outcome['recipe']}: {name}",
                value=statistics.median(values),
                unit=unit,
                target=None,
                provenance="measured",
                protocol=f"{outcome['data']['source']}; validation split, goal error {outcome['goal']:.6g}",
                seeds=seeds,
                values=tuple(values),
                command=outcome["command"],
            )
        )

    for point in outcome["points"]:
        batch = point["batch"]
        if point["steps"] is not None:
            add(f"steps to the goal at batch {batch}", [point["steps"]], "steps", repeat_seeds)
            add(f"best effective rate at batch {batch}", [point["best"]["rate"]], "1", repeat_seeds)
        for budget in ("steps", "epochs"):
            errors = point[f"fixed_{budget}"]
            if errors and None not in errors:
                add(f"error under fixed {budget} at batch {batch}", errors, "share", repeat_seeds)
    critical = outcome["critical"]
    if critical is not None:
        low, high = critical["interval"]
        add("critical batch size", [critical["value"]], "samples", study_seed)
        add("critical batch size, 5th percentile", [low], "samples", study_seed)
        add("critical batch size, 95th percentile", [high], "samples", study_seed)
        add("exponent of the best effective rate", [outcome["exponent"]["value"]], "1", study_seed)
        add("batch size to train with", [outcome["batch_size"]], "samples", study_seed)
    return rows
