"""Tests of a search: no plan is tried twice, every outcome is stored, an interrupted search resumes exactly."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from gatesearch.errors import UserError
from gatesearch.plan import GatePlan
from gatesearch.search import (
    Evaluated,
    Objectives,
    SearchResult,
    SearchSettings,
    Space,
    Trial,
    engine,
    pareto,
    search,
    storage,
)
from gatesearch.search.sampler import GateSampler, choice
from gatesearch.search.sampler.gate_sampler import DIRECTIONS
from gatesearch.search.storage import STUDY
from gatesearch.search.stored_trial import match_params
from tests.search.small_spaces import small


def number(plan: GatePlan, modulus: int) -> int:
    return int(plan.digest, 16) % modulus


def price(plan: GatePlan) -> dict[str, float]:
    """Return the excess of a constraint, which is positive for a quarter of all plans."""
    return {"npu.sram": number(plan, 4) - 2.5}


class Evaluate:
    """An evaluation without training. It records plans; the calls with the numbers ``at`` raise ``trouble``."""

    def __init__(self, *at: int, trouble: BaseException | None = None) -> None:
        self.seen: list[GatePlan] = []
        self.at, self.trouble = at, trouble or KeyboardInterrupt()

    def __call__(self, plan: GatePlan) -> Evaluated:
        self.seen.append(plan)
        if len(self.seen) in self.at:
            raise self.trouble
        accuracy = 0.5 + number(plan, 50) / 100
        costs = 1.0 + len(plan.gates), 2.0 + number(plan, 31)
        return Evaluated(Objectives(accuracy, *costs), {"accuracy": 0.6 - accuracy})


def run(journal: Path, evaluate: Callable[[GatePlan], Evaluated], space: Space | None = None, **changes: Any) -> Any:
    defaults: dict[str, Any] = {"trials": 15, "proposals": 60, "seed": 3}
    return search(space or small(), price, evaluate, SearchSettings(journal=journal, **{**defaults, **changes}))


def test_no_plan_is_evaluated_twice_or_if_its_price_rules_it_out(tmp_path: Path) -> None:
    evaluate, reported = Evaluate(), []
    result = run(tmp_path / "study.journal", evaluate, trials=30, proposals=200, on_trial=reported.append)
    assert len(evaluate.seen) == len(set(evaluate.seen)) == len(result.complete) == 30
    assert not any(price(plan)["npu.sram"] > 0 for plan in evaluate.seen)
    assert tuple(reported) == result.trials
    assert [trial.number for trial in result.trials] == list(range(len(result.trials)))
    first: set[GatePlan] = set()
    for trial in result.trials:
        fits = price(trial.plan)["npu.sram"] <= 0
        expected = "duplicate" if trial.plan in first else "complete" if fits else "priced_out"
        assert trial.state == expected
        assert (trial.objectives is None) == (expected != "complete")
        first.add(trial.plan)


def test_the_front_is_feasible_and_dominates_all_other_feasible_plans(tmp_path: Path) -> None:
    result = run(tmp_path / "study.journal", Evaluate(), trials=30)
    feasible = [t for t in result.complete if t.objectives.accuracy >= 0.6]
    assert {t.number for t in feasible} == {t.number for t in result.complete if t.feasible}
    for t in feasible:
        beaten = any(pareto.dominates(o.objectives.minimised, t.objectives.minimised) for o in feasible)
        assert (t in result.front) != beaten


def test_hypervolume_of_a_search_never_falls(tmp_path: Path) -> None:
    result = run(tmp_path / "study.journal", Evaluate())
    volumes = result.hypervolume(Objectives(0.0, 5.0, 40.0))
    assert len(volumes) == len(result.complete) and volumes == sorted(volumes) and volumes[-1] > 0
    points = [t.objectives.minimised for t in result.complete if t.feasible]
    shares = [(a, b / 5.0, c / 40.0) for a, b, c in points]
    assert volumes[-1] == pytest.approx(pareto.hypervolume(shares, (1.0, 1.0, 1.0)))


def test_the_journal_opens_with_optuna(tmp_path: Path) -> None:
    result = run(tmp_path / "study.journal", Evaluate(), trials=30, proposals=200)
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "study.journal")))
    study = optuna.load_study(study_name=STUDY, storage=storage)
    assert study.metric_names == ["accuracy", "latency_us", "energy_uj"]
    assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE", "MINIMIZE"]
    complete = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    assert [tuple(t.values) for t in complete] == [tuple(t.objectives) for t in result.complete]
    assert all(GatePlan.from_json(t.user_attrs["plan"]) for t in study.trials)
    assert study.best_trials and complete[0].constraints.keys() == {"accuracy"}
    out = next(t for t in study.trials if t.user_attrs["state"] == "priced_out")
    assert out.user_attrs["broken"] == ["npu.sram"] and out.constraints["npu.sram"] > 0


def test_nothing_is_written_on_the_terminal(tmp_path: Path, recwarn: Any, capfd: pytest.CaptureFixture[str]) -> None:
    run(tmp_path / "study.journal", Evaluate(), trials=20)
    assert capfd.readouterr() == ("", "")
    assert [w for w in recwarn if "optuna" in str(w.filename) or "Experimental" in str(w.category)] == []


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> tuple[SearchResult, list[GatePlan]]:
    evaluate = Evaluate()
    return run(tmp_path_factory.mktemp("unbroken") / "study.journal", evaluate), evaluate.seen


@pytest.mark.parametrize(
    ("at", "trouble"),
    [
        (1, KeyboardInterrupt()),
        (2, OSError(28, "disk full")),
        (9, KeyboardInterrupt()),
        (14, OSError(28, "disk full")),
        (15, KeyboardInterrupt()),
    ],
)
def test_an_interrupted_search_gives_the_same_result(
    at: int, trouble: BaseException, tmp_path: Path, unbroken: tuple[SearchResult, list[GatePlan]]
) -> None:
    journal, evaluate = tmp_path / "study.journal", Evaluate(at, trouble=trouble)
    with pytest.raises(type(trouble)):
        run(journal, evaluate)
    stored = engine.read(journal)
    assert stored.trials == unbroken[0].trials[: len(stored.trials)] and len(stored.complete) == at - 1
    on = Evaluate()
    assert run(journal, on) == unbroken[0]
    assert evaluate.seen[:-1] + on.seen == unbroken[1]
    assert run(journal, Evaluate(1)) == unbroken[0]  # no plan is left to evaluate
    assert engine.read(journal) == unbroken[0]


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(gaps=st.lists(st.integers(1, 6), max_size=4))
def test_a_search_that_is_interrupted_many_times_gives_the_same_result(
    gaps: list[int], tmp_path_factory: pytest.TempPathFactory, unbroken: tuple[SearchResult, list[GatePlan]]
) -> None:
    journal = tmp_path_factory.mktemp("broken") / "study.journal"
    for gap in gaps:
        try:
            run(journal, Evaluate(gap))
        except KeyboardInterrupt:
            continue
    assert run(journal, Evaluate()) == unbroken[0]


def test_a_search_interrupted_before_it_stores_an_outcome_evaluates_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unbroken: tuple[SearchResult, list[GatePlan]]
) -> None:
    journal, tell, reported = tmp_path / "study.journal", optuna.Study.tell, []

    def interrupted(self: optuna.Study, *args: Any, **kwargs: Any) -> Any:
        reported.append(args)
        if len(reported) == 7:
            raise KeyboardInterrupt
        return tell(self, *args, **kwargs)

    monkeypatch.setattr(optuna.Study, "tell", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(journal, Evaluate())
    assert run(journal, Evaluate()) == unbroken[0]


def test_a_truncated_entry_at_the_end_of_the_journal_is_dropped(
    tmp_path: Path, unbroken: tuple[SearchResult, list[GatePlan]]
) -> None:
    journal = tmp_path / "study.journal"
    with pytest.raises(KeyboardInterrupt):
        run(journal, Evaluate(6))
    with journal.open("ab") as file:  # a full disk leaves such an entry
        file.write(b'{"op_code":6,"worker_id":"a-half')
    assert len(engine.read(journal).complete) == 5
    assert run(journal, Evaluate()) == unbroken[0]
    assert run(journal, Evaluate(1)) == unbroken[0]


def test_a_journal_without_a_study_is_resumed(tmp_path: Path) -> None:
    (tmp_path / "study.journal").touch()
    assert engine.read(tmp_path / "study.journal").trials == ()
    assert len(run(tmp_path / "study.journal", Evaluate(), trials=2).complete) == 2


@pytest.mark.slow
def test_the_lock_of_a_killed_run_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    journal = Path("runs/study.journal")
    with pytest.raises(KeyboardInterrupt):
        run(journal, Evaluate(2))
    os.symlink(journal.absolute(), f"{journal}.lock")
    started = time.monotonic()
    assert len(run(journal, Evaluate(), trials=3).complete) == 3
    assert time.monotonic() - started < 60


def test_a_search_ends_when_every_plan_of_the_space_was_tried(tmp_path: Path) -> None:
    space = small(max_gates=1)
    result = run(tmp_path / "study.journal", Evaluate(), space, trials=10**6, proposals=10**6)
    assert len({trial.plan for trial in result.trials}) == len(space) == 29
    assert {trial.state for trial in result.trials} == {"complete", "priced_out", "duplicate"}
    assert len(result.trials) < 3 * len(space)


def test_proposals_are_bounded(tmp_path: Path) -> None:
    result = run(tmp_path / "study.journal", Evaluate(), trials=100, proposals=7)
    assert len(result.trials) == 7


def test_a_longer_search_continues_a_shorter_one(tmp_path: Path, unbroken: tuple[SearchResult, list[GatePlan]]) -> None:
    run(tmp_path / "study.journal", Evaluate(), trials=4)
    assert run(tmp_path / "study.journal", Evaluate()) == unbroken[0]


def test_other_seeds_give_other_searches(tmp_path: Path, unbroken: tuple[SearchResult, list[GatePlan]]) -> None:
    other = run(tmp_path / "study.journal", Evaluate(), seed=4)
    assert [t.plan for t in other.trials] != [t.plan for t in unbroken[0].trials]


def test_a_search_without_a_feasible_plan_gives_an_error_of_one_line(tmp_path: Path) -> None:
    def never(plan: GatePlan) -> dict[str, float]:
        return {"mcu.sram": 0.2, "latency_ms": -1.0, "npu.flash": 0.1}

    with pytest.raises(UserError) as error:
        search(small(), never, Evaluate(1), SearchSettings(journal=tmp_path / "j", trials=3, proposals=9, seed=0))
    proposed = len({trial.plan for trial in engine.read(tmp_path / "j").trials})
    assert str(error.value) == (
        f"search: none of {proposed} proposed plans keeps the constraints on price "
        "(mcu.sram, npu.flash); relax constraints or take a larger device"
    )


def test_values_are_the_same_when_read_from_the_journal(tmp_path: Path) -> None:
    result = run(tmp_path / "study.journal", Evaluate(), trials=3)
    for mine, again in zip(result.trials, engine.read(tmp_path / "study.journal").trials, strict=True):
        assert astuple(mine) == astuple(again) and isinstance(again, Trial)


def test_the_details_of_an_evaluation_are_stored_with_its_trial(tmp_path: Path) -> None:
    def evaluate(plan: GatePlan) -> Evaluated:
        return Evaluated(Objectives(0.5, 1.0, 2.0), {}, {"passed": {"positive": [1.0, 1 / (1 + number(plan, 77))]}})

    result = run(tmp_path / "study.journal", evaluate, trials=4)
    again = engine.read(tmp_path / "study.journal")
    for trial, other in zip(result.trials, again.trials, strict=True):
        assert trial.details == other.details
        if trial.state == "complete":
            assert trial.details == {"passed": {"positive": [1.0, 1 / (1 + number(trial.plan, 77))]}}
        else:
            assert not trial.details


def rename_params(stored: optuna.trial.FrozenTrial) -> optuna.trial.FrozenTrial:
    """Return a trial with other names of parameters, as older versions of gatesearch stored it."""
    params = {f"old_{name}": value for name, value in stored.params.items()}
    return optuna.trial.create_trial(
        state=stored.state,
        values=stored.values,
        params=params,
        distributions={f"old_{name}": kind for name, kind in stored.distributions.items()},
        user_attrs=stored.user_attrs,
        system_attrs=stored.system_attrs,
    )


@pytest.mark.parametrize("name", ["tpe", "gate"])
def test_a_study_with_the_parameter_names_of_an_older_version_goes_on(name: str, tmp_path: Path) -> None:
    def sampler() -> choice.SamplerFactory:
        own = GateSampler(small(), lambda plan: [(1.0, 1.0)] * (len(plan.cores) + 1), seed=3)
        return choice.build_optuna_sampler("tpe", 3) if name == "tpe" else lambda number: own

    new, old = tmp_path / "new.journal", tmp_path / "old.journal"
    run(new, Evaluate(), trials=14, sampler=sampler())
    with storage.open_driven_study(old, DIRECTIONS, Objectives._fields) as study:
        for trial in storage.ended_trials(optuna.load_study(study_name=STUDY, storage=storage.open_storage(new))):
            storage.add_trial(study, rename_params(trial), old)
    assert engine.read(old) == engine.read(new)
    evaluate = Evaluate()
    resumed = run(old, evaluate, trials=20, sampler=sampler())
    assert resumed.trials[: len(engine.read(new).trials)] == engine.read(new).trials and len(evaluate.seen) == 6
    assert len(set(trial.plan for trial in resumed.complete)) == 20


def test_parameters_of_another_version_are_those_of_the_plan(tmp_path: Path, space: Space) -> None:
    run(tmp_path / "study.journal", Evaluate(), trials=12)
    study = optuna.load_study(study_name=STUDY, storage=storage.open_storage(tmp_path / "study.journal"))
    for trial in storage.ended_trials(study):
        plan = GatePlan.from_json(trial.user_attrs["plan"])
        assert match_params(trial, plan, space) is trial
        matched = match_params(rename_params(trial), plan, space)
        assert matched.params == space.describe(plan) and space.read(matched.params) == plan
        assert (matched.values, matched.state, matched.constraints) == (trial.values, trial.state, trial.constraints)
        foreign = match_params(rename_params(trial), plan, small(cores=("other",)))
        assert foreign.params == {} and foreign.user_attrs == trial.user_attrs
