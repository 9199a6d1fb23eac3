"""The record of a run's search: a row for each trial, and the learning curves of trainings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from gatesearch.search.result import SearchResult
from gatesearch.training import History

TRIAL_COLUMNS = (
    "number",
    "state",
    "method",
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
        objectives, timed = trial.objectives, times.get(trial.plan.digest, {})
        rows.append(
            {
                "number": trial.number,
                "state": trial.state,
                "method": trial.method,
                "digest": trial.plan.digest,
                "accuracy": None if objectives is None else objectives.accuracy,
                "expected_latency_us": None if objectives is None else objectives.latency_us,
                "expected_energy_uj": None if objectives is None else objectives.energy_uj,
                "feasible": trial.feasible,
                "on_front": trial.number in front,
                "predicted_path_us": timed.get("predicted_us"),
                "measured_path_us": timed.get("measured_us"),
                "plan": str(trial.plan),
            }
        )
    return rows


def add_plans(rows: list[dict[str, Any]], result: SearchResult) -> list[dict[str, Any]]:
    """Return the rows with each trial's plan in full instead of its name."""
    return [row | {"plan": trial.plan.to_dict()} for row, trial in zip(rows, result.trials, strict=True)]


def learning_curves(histories: Mapping[str, History]) -> list[dict[str, Any]]:
    """Return a row for each learning curve, in the form that the report draws."""
    return [
        {"name": name, "epochs": list(range(1, len(history.train_loss) + 1)), **asdict(history)}
        for name, history in histories.items()
    ]
