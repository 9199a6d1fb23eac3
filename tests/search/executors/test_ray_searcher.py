"""Tests of GateSearcher, the search algorithm for Ray Tune; they call it as Tune does, without a cluster."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

from gatesearch._lib import console
from gatesearch.errors import UserError
from gatesearch.plan import GatePlan
from gatesearch.search import SearchSettings, engine, storage
from gatesearch.search.executors import Failure
from gatesearch.search.sampler import GateSampler
from gatesearch.search.sampler.gate_sampler import DIRECTIONS
from gatesearch.search.session import Session
from tests.search.quick import price, try_plan
from tests.search.small_spaces import small

pytest.importorskip("ray.tune", reason="the extra ray")
from gatesearch.search.executors.ray_searcher import GateSearcher, read_outcome, report_outcome  # needs Ray


def stage_costs(plan: GatePlan) -> list[tuple[float, float]]:
    return [(1.0, 1.0)] * (len(plan.cores) + 1)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    settings = SearchSettings(
        journal=tmp_path / "study.journal",
        trials=6,
        proposals=100,
        seed=2,
        sampler=GateSampler(small(), stage_costs),
    )
    with engine.open_session(small(), price, settings) as opened:
        yield opened


def plan_of(config: Any) -> GatePlan:
    return GatePlan.from_json(config["plan"])


def done(plan: GatePlan) -> dict[str, Any]:
    return {**report_outcome(try_plan(plan)), "done": True}


def test_running_trials_are_never_proposed_again(session: Session, tmp_path: Path) -> None:
    searcher = GateSearcher(session)
    configs = {name: searcher.suggest(name) for name in "abcdef"}
    plans = {name: plan_of(config) for name, config in configs.items()}
    assert len(set(plans.values())) == 6
    assert searcher.suggest("g") is None  # all six trials of the settings are running
    for name in "fbdace":  # trials end in another order
        searcher.on_trial_complete(name, done(plans[name]))
        searcher.on_trial_complete(name, done(plans[name]))  # reported again, as for a trial that ran twice
    assert searcher.suggest("g") == GateSearcher.FINISHED
    stored = engine.read(tmp_path / "study.journal").complete
    assert [trial.plan for trial in stored] == [plans[name] for name in "fbdace"]
    assert [trial.objectives for trial in stored] == [try_plan(plans[name]).objectives for name in "fbdace"]


def test_a_trial_that_a_scheduler_stopped_is_pruned(session: Session, tmp_path: Path) -> None:
    searcher = GateSearcher(session)
    plan = plan_of(searcher.suggest("a"))
    searcher.on_trial_complete("a", report_outcome(try_plan(plan)) | {"done": False})
    study = optuna.load_study(study_name="gatesearch", storage=storage.open_storage(tmp_path / "study.journal"))
    pruned = [trial for trial in study.trials if trial.user_attrs["state"] == "pruned"]
    assert [trial.state.name for trial in pruned] == ["PRUNED"] and pruned[0].values is None
    config: Any = searcher.suggest("b")
    assert plan_of(config) != plan


def test_a_trial_that_failed_is_kept_and_the_search_goes_on(session: Session, tmp_path: Path) -> None:
    searcher = GateSearcher(session)
    first, second = plan_of(searcher.suggest("a")), plan_of(searcher.suggest("b"))
    searcher.on_trial_complete("a", None, error=True)
    third = plan_of(searcher.suggest("c"))
    searcher.on_trial_complete("b", done(second))
    searcher.on_trial_complete("c", report_outcome(Failure("MemoryError")) | {"done": True})
    states = {trial.plan: (trial.state, trial.error) for trial in engine.read(tmp_path / "study.journal").trials}
    gave_up = "Ray Tune stopped it: its trainable raised or its workers died"
    assert states[first] == ("failed", gave_up) and states[third] == ("failed", "MemoryError")
    assert states[second] == ("complete", None) and plan_of(searcher.suggest("d")) not in states


def test_warnings_of_an_actor_are_the_drivers(session: Session) -> None:
    searcher = GateSearcher(session)
    first, second = plan_of(searcher.suggest("a")), searcher.suggest("b")
    assert second is not None
    with console.collect_warnings() as stored:
        searcher.on_trial_complete("a", report_outcome(try_plan(first), ["a is doubtful"]) | {"done": True})
        searcher.on_trial_complete("b", report_outcome(Failure("no"), ["b is doubtful", "b is cold"]) | {"done": True})
    assert stored[:3] == ["a is doubtful", "b is doubtful", "b is cold"]


def test_a_searcher_can_be_pickled_but_not_restored(session: Session, tmp_path: Path) -> None:
    searcher = GateSearcher(session)
    assert isinstance(pickle.loads(pickle.dumps(searcher)), GateSearcher)
    searcher.save(str(tmp_path / "state"))
    with pytest.raises(UserError, match="new Tuner"):
        searcher.restore(str(tmp_path / "state"))


def test_a_searcher_proposes_the_plans_of_the_named_sampler(session: Session) -> None:
    searcher, study, space = GateSearcher(session), optuna.create_study(directions=DIRECTIONS), small()
    study.sampler = GateSampler(space, stage_costs)
    for name in "abc":
        plan = plan_of(searcher.suggest(name))
        while (proposed := space.propose(trial := study.ask())) != plan:
            assert price(proposed)["npu.sram"] > 0  # the price rules this plan out, so the searcher skips it
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        outcome = try_plan(plan)
        searcher.on_trial_complete(name, done(plan))
        for constraint, excess in outcome.violations.items():
            trial.set_constraint(constraint, excess)
        study.tell(trial, outcome.objectives)


def test_a_search_that_names_no_sampler_is_refused(tmp_path: Path) -> None:
    settings = SearchSettings(journal=tmp_path / "study.journal", trials=6, proposals=100, seed=2)
    with (
        engine.open_session(small(), price, settings) as opened,
        pytest.raises(UserError, match=r"^GateSearcher: the search names no sampler; .*sampler=GateSampler\("),
    ):
        GateSearcher(opened)


def test_a_missing_objective_is_named(session: Session) -> None:
    with pytest.raises(UserError, match="reports no 'energy_uj'"):
        read_outcome({"accuracy": 1.0, "latency_us": 2.0})
