"""Tables of a search: a row a trial, and learning curves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from gatesearch.search.result import SearchResult
from gatesearch.training import History

TRIAL_COLUMNS = (
    "number",
    "state",
    "digest",
    "accuracy",
    "expected_latency_us",
    "expected_energy_uj",
    "feasible",
    "on_front",
    "predicted_path_us",
    "measured_path_us",
    "plan",
)


def trial_rows(result: SearchResult, times: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """Return a row for each trial, in the columns of trials.csv."""
    front = {trial.number for trial in result.front}
    rows = []
    for trial in result.trials:
        o, timed = trial.objectives, times.get(trial.plan.digest, {})
        rows.append(
            {
                "number": trial.number,
                "state": trial.state,
                "digest": trial.plan.digest,
                "accuracy": None if o is None else o.accuracy,
                "expected_latency_us": None if o is None else o.latency_us,
                "expected_energy_uj": None if o is None else o.energy_uj,
                "feasible": trial.feasible,
                "on_front": trial.number in front,
                "predicted_path_us": timed.get("predicted_us"),
                "measured_path_us": timed.get("measured_us"),
                "plan": str(trial.plan),
            }
        )
    return rows


def with_plans(rows: list[dict[str, Any]], result: SearchResult) -> list[dict[str, Any]]:
    """Return rows of trials, each with its plan in full."""
    return [row | {"plan": trial.plan.to_dict()} for row, trial in zip(rows, result.trials, strict=True)]


def learning_curves(histories: Mapping[str, History]) -> list[dict[str, Any]]:
    """Return learning curves as the report draws them."""
    return [
        {"name": name, "epochs": list(range(1, len(h.train_loss) + 1)), **asdict(h)} for name, h in histories.items()
    ]
