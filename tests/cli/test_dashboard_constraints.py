"""Tests that the dashboard shows which plans keep the constraints, and crowns none that breaks one."""

from __future__ import annotations

import json
from typing import Any
from wsgiref.util import setup_testing_defaults

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatesearch.cli.dashboard_constraints import LIST_KEY, feasible_front, is_feasible, list_constraints

pytest.importorskip("optuna_dashboard", reason="the extra dashboard")
optuna.logging.set_verbosity(optuna.logging.ERROR)

DIRECTIONS = ["maximize", "minimize", "minimize"]


def make_study(excesses: list[float]) -> optuna.Study:
    """Return a study in which each trial beats the ones before it, and has its own excess over a constraint."""
    study = optuna.create_study(directions=DIRECTIONS)
    for number, excess in enumerate(excesses):
        trial = study.ask()
        trial.set_constraint("miss_rise", excess)
        study.tell(trial, (number / 10, 10.0 - number, 10.0 - number))
    return study


def ask(study: optuna.Study) -> dict[str, Any]:
    """Return what the dashboard answers about a study."""
    from optuna_dashboard import wsgi

    app = wsgi(list_constraints(study._storage))
    environ: dict[str, Any] = {"PATH_INFO": f"/api/studies/{study._study_id}", "QUERY_STRING": ""}
    setup_testing_defaults(environ)
    document: dict[str, Any] = json.loads(b"".join(app(environ, lambda *answer: None)))
    return document


@given(excesses=st.lists(st.sampled_from([-0.1, 0.0, 0.2]), min_size=1, max_size=6))
def test_only_plans_that_keep_the_constraints_are_on_the_front(excesses: list[float]) -> None:
    study = make_study(excesses)
    feasible = [number for number, excess in enumerate(excesses) if excess <= 0]
    with feasible_front():
        shown = ask(study)
    assert [trial["number"] for trial in shown["best_trials"]] == feasible[-1:]
    assert [trial[LIST_KEY] for trial in shown["trials"]] == [[excess] for excess in excesses]


def test_without_the_change_the_dashboard_crowns_a_plan_that_breaks_a_constraint() -> None:
    """If this test fails, optuna-dashboard respects constraints, and the module can go."""
    from optuna_dashboard import _app

    trials = make_study([-0.1, 0.2]).trials
    directions = [optuna.study.StudyDirection[name.upper()] for name in DIRECTIONS]
    assert [trial.number for trial in _app.get_pareto_front_trials(trials, directions)] == [1]
    assert [is_feasible(trial) for trial in trials] == [True, False]
