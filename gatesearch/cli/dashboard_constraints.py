"""Lets optuna-dashboard show which plans keep the constraints, and leave the others out of the front.

Optuna 5 stores each constraint under a key of its own. optuna-dashboard 0.21 reads one list under the key of older
versions, and its front ignores constraints. So it would crown plans that break them.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from gatesearch._lib import console

LIST_KEY = "constraints"
"""System attribute of a trial that the dashboard reads: a list; all are at most 0 if the trial is feasible."""


def list_constraints(storage: BaseStorage) -> BaseStorage:
    """Let a storage return each trial with its constraints under :data:`LIST_KEY` as well; stored trials stay."""
    read = storage.get_all_trials

    def get_all_trials(
        study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        return [_list_constraints(trial) for trial in read(study_id, deepcopy=True, states=states)]

    storage.get_all_trials = get_all_trials  # type: ignore[method-assign]
    return storage


def is_feasible(trial: FrozenTrial) -> bool:
    """Say whether a trial keeps all constraints."""
    return all(excess <= 0 for excess in trial.constraints.values())


@contextmanager
def feasible_front() -> Iterator[None]:
    """Let the dashboard compute its front of feasible trials alone, within the context."""
    from optuna_dashboard import _app

    whole = getattr(_app, "get_pareto_front_trials", None)
    if whole is None:
        console.warn("dashboard: this version of optuna-dashboard may show plans that break constraints on its front")
        yield
        return

    def front(trials: Sequence[FrozenTrial], directions: Sequence[Any]) -> list[FrozenTrial]:
        feasible: list[FrozenTrial] = whole([trial for trial in trials if is_feasible(trial)], directions)
        return feasible

    _app.get_pareto_front_trials = front
    try:
        yield
    finally:
        _app.get_pareto_front_trials = whole


def _list_constraints(trial: FrozenTrial) -> FrozenTrial:
    if trial.constraints:
        trial.system_attrs = {**trial.system_attrs, LIST_KEY: list(trial.constraints.values())}
    return trial
