"""Tests of GateSampler in shared studies: queued and failed trials, fixed parameters, copies and processes."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import time
from collections import Counter
from pathlib import Path
from random import Random

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.samplers import PartialFixedSampler
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from gatesearch.errors import UserError
from gatesearch.plan import GatePlan
from gatesearch.search.sampler.gate_sampler import GateSampler
from gatesearch.search.sampler.neighbours import Candidates
from tests.search.sampler.test_gate_sampler import (
    SHARES,
    accuracy,
    passed,
    price,
    run_study,
    runs,
    sampler,
    watched_sampler,
)
from tests.search.small_spaces import small

FATES = st.sampled_from(["complete", "infinite", "free", "pruned", "failed", "running", "silent"])
DIRECTIONS = ["maximize", "minimize", "minimize"]


def new_study(own: GateSampler | None = None, storage: BaseStorage | None = None) -> optuna.Study:
    return optuna.create_study(directions=DIRECTIONS, sampler=own or sampler(), storage=storage, study_name="shared")


def objective(trial: optuna.Trial) -> tuple[float, float, float]:
    plan = small().propose(trial)
    shares = passed(plan)
    trial.set_user_attr("passed", shares)
    return accuracy(plan), *price(plan, shares)


def plan_of(trial: optuna.trial.FrozenTrial) -> GatePlan | None:
    return small().read(trial.params)


def test_a_plan_that_failed_is_not_proposed_again() -> None:
    study = new_study()

    def fails_often(trial: optuna.Trial) -> tuple[float, float, float]:
        values = objective(trial)
        if trial.number % 2:
            raise MemoryError
        return values

    study.optimize(fails_often, n_trials=16, catch=MemoryError)
    assert len({plan_of(trial) for trial in study.trials}) == 16


def test_a_plan_that_waits_in_the_queue_is_not_proposed() -> None:
    space, study = small(), new_study()
    first = space.propose(study.ask())
    other = new_study_with_name("other")
    other.enqueue_trial(space.describe(first))
    other.ask()  # takes the trial from the queue and runs it
    other.enqueue_trial(space.describe(space.propose(other.ask())))
    plans = [space.propose(other.ask()) for _ in range(6)]
    assert first not in plans and len(set(plans)) == 6  # the first of these plans is the enqueued one


def new_study_with_name(name: str) -> optuna.Study:
    return optuna.create_study(directions=DIRECTIONS, sampler=sampler(), study_name=name)


@pytest.mark.parametrize("fixed", [{"gates": 1}, {"gates": 2, "core_0": "npu"}, {"core_0": "mcu"}, {"site_0": "block"}])
def test_an_enqueued_trial_gets_the_best_plan_with_its_parameters(fixed: dict[str, object]) -> None:
    own, drawn = watched_sampler()
    study = run_study(own, 8)
    study.enqueue_trial(fixed)
    study.optimize(objective, n_trials=1)
    assert not drawn and all(study.trials[-1].params[name] == value for name, value in fixed.items())
    assert plan_of(study.trials[-1]) not in {plan_of(trial) for trial in study.trials[:-1]}


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_parameters_that_another_sampler_fixes_are_part_of_the_plan() -> None:
    own, drawn = watched_sampler()
    study = new_study(own)
    study.sampler = PartialFixedSampler({"gates": 2}, own)
    study.optimize(objective, n_trials=10)
    plans = [plan_of(trial) for trial in study.trials]
    assert not drawn and len(set(plans)) == 10 and all(plan and len(plan.gates) == 2 for plan in plans)


def test_parameters_of_the_objective_are_drawn_but_refused_if_the_space_has_their_name() -> None:
    study = new_study()
    trial = study.ask()
    assert 0 <= trial.suggest_float("learning_rate", 0, 1) <= 1 and trial.suggest_int("width", 8, 16) in range(8, 17)
    with pytest.raises(UserError, match=r"^GateSampler: 'gates' is a parameter of plans; the objective suggests its"):
        trial.suggest_int("gates", 0, 9)


@pytest.mark.parametrize(
    ("attribute", "line"),
    [
        ({"positive": [1.0]}, "has no 'noise'; the sampler's shares name positive, noise"),
        ({"positive": [1.0], "noise": [1.0] * 7}, "'noise' has 7 shares; the plan has [123] stages"),
        ([1.0], "for each kind of window, the share that reaches each stage"),
    ],
)
def test_impossible_shares_give_an_error_of_one_line(attribute: object, line: str) -> None:
    study = new_study()
    trial = study.ask()
    plan = small().propose(trial)
    if isinstance(attribute, dict):
        attribute = {kind: row * len(plan.cores) if kind == "positive" else row for kind, row in attribute.items()}
    trial.set_user_attr("passed", attribute)
    study.tell(trial, (0.9, 1.0, 1.0))
    with pytest.raises(UserError, match=f"^GateSampler: trial 0: user attribute 'passed'.*{line}"):
        study.ask()


def test_an_accuracy_in_percent_is_refused() -> None:
    study = new_study()
    trial = study.ask()
    small().propose(trial)
    study.tell(trial, (92.0, 1.0, 1.0))
    with pytest.raises(UserError, match=r"^GateSampler: trial 0 has accuracy 92; the first objective is a share"):
        study.ask()


@settings(max_examples=15, deadline=None)
@given(st.lists(FATES, max_size=14))
def test_no_plan_is_proposed_twice_whatever_happens_to_its_trial(fates: list[str]) -> None:
    study, space = new_study(), small()
    plans = []
    for fate in fates:
        trial = study.ask()
        if fate == "silent":  # the trial never asks for its plan
            continue
        plans.append(space.propose(trial))
        if fate == "complete":
            study.tell(trial, objective_values(plans[-1]))
        elif fate == "infinite":
            study.tell(trial, (0.8, float("inf"), 1.0))
        elif fate == "free":
            study.tell(trial, (0.8, 0.0, 0.0))
        elif fate in ("pruned", "failed"):
            study.tell(trial, state=TrialState.PRUNED if fate == "pruned" else TrialState.FAIL)
    assert len(set(plans)) == len(plans)


def objective_values(plan: GatePlan) -> tuple[float, float, float]:
    return accuracy(plan), *price(plan, passed(plan))


def test_the_sampler_learns_from_trials_of_an_older_study() -> None:
    older = run_study(sampler(1), 12)
    study = new_study()
    study.add_trials(older.trials)
    proposed = small().propose(study.ask())
    assert proposed not in {plan_of(trial) for trial in older.trials}
    older.sampler = sampler()
    assert proposed == small().propose(older.ask())


def test_two_studies_of_one_name_do_not_mix() -> None:
    own = sampler(3)
    first = run_study(own, 8, new_study(own))
    second = run_study(own, 8, new_study(own))
    assert [plan_of(trial) for trial in first.trials] == [plan_of(trial) for trial in second.trials]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda own: pickle.loads(pickle.dumps(own))])
def test_a_copy_proposes_what_the_sampler_proposes(duplicate: object) -> None:
    own = GateSampler(small(), runs, shares=SHARES, seed=5)
    study = run_study(own, 9)
    twin = duplicate(own)  # type: ignore[operator]
    assert twin.propose(study, 9) == own.propose(study, 9)


def test_a_trial_that_another_copy_of_the_sampler_began_keeps_its_plan() -> None:
    own = GateSampler(small(), runs, shares=SHARES)
    study = run_study(own, 5)
    trial = study.ask()
    study.sampler = pickle.loads(pickle.dumps(own))
    claimed = GatePlan.from_json(study.trials[-1].system_attrs["gatesearch:plan"])
    assert small().propose(trial) == claimed


def open_storage(kind: str, folder: Path) -> BaseStorage | str:
    if kind == "journal":
        return JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    return f"sqlite:///{folder}/study.db"


def search_in_process(kind: str, folder: Path, own: GateSampler, trials: int) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.load_study(study_name="shared", storage=open_storage(kind, folder), sampler=own)

    def slow(trial: optuna.Trial) -> tuple[float, float, float]:
        time.sleep(0.02)  # stands for loading data
        return objective(trial)

    study.optimize(slow, n_trials=trials)


@pytest.mark.parametrize("kind", ["journal", pytest.param("sqlite", marks=pytest.mark.slow)])
def test_processes_on_one_storage_propose_different_plans(kind: str, tmp_path: Path) -> None:
    own = GateSampler(small(), runs, shares=SHARES, candidates=30)
    study = optuna.create_study(directions=DIRECTIONS, study_name="shared", storage=open_storage(kind, tmp_path))
    context = multiprocessing.get_context("spawn")
    arguments = (kind, tmp_path, own, 9)
    processes = [context.Process(target=search_in_process, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    counts = Counter(plan_of(trial) for trial in study.trials)
    assert counts.total() == 18 and set(counts.values()) == {1}, counts


def test_a_proposal_after_thousands_of_trials_takes_milliseconds() -> None:
    space, generator = small(max_gates=3, kinds=MANY_CHOICES), Random(0)
    study = optuna.create_study(directions=DIRECTIONS)
    for gates in dict.fromkeys(Candidates(space).draw_evenly(6000, generator)):
        plan = generator.choice(space.plans_for(gates))
        study.add_trial(
            optuna.trial.create_trial(
                values=list(objective_values(plan)),
                params=space.describe(plan),
                distributions={
                    name: optuna.distributions.CategoricalDistribution(choices)
                    for name, choices in space.param_choices(plan).items()
                },
                user_attrs={"passed": passed(plan)},
            )
        )
    assert len(study.trials) > 1500
    study.sampler = GateSampler(space, runs, shares=SHARES)
    space.propose(study.ask())  # the first proposal reads the study and fits the posterior
    started = time.process_time()
    for _ in range(5):
        space.propose(study.ask())
    assert (time.process_time() - started) / 5 < 0.05  # a fit to all trials would take about 4 s


MANY_CHOICES = {
    "gc": {"mode": ["channel", "activation"], "keep": [k / 16 for k in range(1, 17)], "recall": [0.98, 0.99]}
}
