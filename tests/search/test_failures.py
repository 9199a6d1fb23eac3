"""Tests of failures in a search: the trial of a failing plan stores the message, and the search continues."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatesearch._lib.console import collect_warnings
from gatesearch.errors import UserError
from gatesearch.plan import GatePlan
from gatesearch.search import Evaluated, Objectives, SearchSettings, engine, search
from gatesearch.search.executors import Executor
from gatesearch.search.executors.local import LocalWorkers
from gatesearch.search.sampler import GateSampler
from tests.search.quick import price, try_plan
from tests.search.small_spaces import small

NAN, INFINITY = math.nan, math.inf


def run_out_of_memory() -> Evaluated:
    raise MemoryError("no room for\nthe batch")


FAULTS: dict[str, tuple[Callable[[], Any], str]] = {
    "it raises": (run_out_of_memory, r"^MemoryError: no room for the batch \(test_failures.py:\d+\)$"),
    "NaN objective": (lambda: Evaluated(Objectives(NAN, 1.0, 1.0), {}), "^accuracy is nan$"),
    "infinite cost": (lambda: Evaluated(Objectives(0.5, 1.0, INFINITY), {}), "^energy_uj is inf$"),
    "NaN violation": (lambda: Evaluated(Objectives(0.5, 1.0, 1.0), {"fidelity": NAN}), "^constraint fidelity is nan$"),
    "no outcome": (lambda: None, "^evaluate returned None, which is not an Evaluated$"),
    "no JSON": (lambda: Evaluated(Objectives(0.5, 1.0, 1.0), {}, {"x": {1, 2}}), "^its details are not JSON: "),
    "a line for the user": (lambda: raise_line(), "^data: clip 7 is silent$"),
}


def raise_line() -> Evaluated:
    raise UserError("data: clip 7 is silent")


class FailingEvaluation:
    """An evaluation whose calls fail if their number is in ``calls``, from 1; it records the plan of every call."""

    def __init__(self, calls: set[int], fault: Callable[[], Any]) -> None:
        self.calls, self.fault = calls, fault
        self.plans: list[GatePlan] = []

    def __call__(self, plan: GatePlan) -> Any:
        self.plans.append(plan)
        return self.fault() if len(self.plans) in self.calls else try_plan(plan)


def run(journal: Path, evaluate: Any, executor: Executor | None = None, **changes: Any) -> Any:
    arguments: dict[str, Any] = {"trials": 8, "proposals": 60, "seed": 3, **changes}
    return search(small(), price, evaluate, SearchSettings(journal=journal, **arguments), executor)


@pytest.mark.parametrize("name", FAULTS)
def test_a_trial_whose_evaluation_fails_is_stored_as_failed_and_the_search_continues(name: str, tmp_path: Path) -> None:
    fault, line = FAULTS[name]
    evaluate = FailingEvaluation({2}, fault)
    with collect_warnings() as warnings:
        result = run(tmp_path / "study.journal", evaluate)
    [failed] = [trial for trial in result.trials if trial.state == "failed"]
    assert failed.plan == evaluate.plans[1] and failed.objectives is None and not failed.feasible
    assert len(result.complete) == 8 and failed not in result.front
    assert re.search(line, failed.error), failed.error
    assert warnings == [f"search: trial {failed.number}, plan {failed.plan.digest}, failed: {failed.error}"]
    assert engine.read(tmp_path / "study.journal").trials == result.trials
    again = FailingEvaluation(set(), fault)
    longer = run(tmp_path / "study.journal", again, trials=12)
    assert failed.plan not in again.plans and len(longer.complete) == 12


def test_optuna_reads_failed_trials_as_failed(tmp_path: Path) -> None:
    run(tmp_path / "study.journal", FailingEvaluation({1, 4}, run_out_of_memory))
    from gatesearch.search import storage

    study = optuna.load_study(study_name=storage.STUDY, storage=storage.open_storage(tmp_path / "study.journal"))
    states = [trial.state.name for trial in study.trials if trial.user_attrs["state"] == "failed"]
    assert states == ["FAIL", "FAIL"]
    assert all(trial.values for trial in study.trials if trial.state.name == "COMPLETE")


def test_too_many_failures_end_the_search_with_their_common_cause(tmp_path: Path) -> None:
    evaluate = FailingEvaluation(set(range(100)), run_out_of_memory)
    with pytest.raises(UserError, match=r"^search: 5 of 5 plans failed: MemoryError: no room for the batch"):
        run(tmp_path / "study.journal", evaluate)
    assert len(evaluate.plans) == 5
    without_faults = FailingEvaluation(set(), run_out_of_memory)
    assert len(run(tmp_path / "study.journal", without_faults).complete) == 8
    assert not set(evaluate.plans) & set(without_faults.plans)


def test_the_error_names_the_most_frequent_cause(tmp_path: Path) -> None:
    def evaluate(plan: GatePlan) -> Evaluated:
        raise ValueError(plan.digest) if len(plan.gates) == 1 else MemoryError("no room")

    with pytest.raises(UserError, match=r"^search: 5 of 5 plans failed, \d of them alike: (MemoryError|ValueError): "):
        run(tmp_path / "study.journal", evaluate)


def test_a_small_space_in_which_every_plan_fails_says_why(tmp_path: Path) -> None:
    space = small(max_gates=0)
    settings = SearchSettings(journal=tmp_path / "j", trials=9, proposals=99, seed=0)
    with pytest.raises(UserError, match=r"^search: \d of \d plans failed: data: clip 7 is silent$"):
        search(space, lambda plan: {}, lambda plan: raise_line(), settings)


@pytest.mark.parametrize("fault", ["nan", "raise"])
def test_an_impossible_price_is_a_failure_of_its_plan(fault: str, tmp_path: Path) -> None:
    prices = iter(range(10**6))

    def broken_price(plan: GatePlan) -> dict[str, float]:
        if next(prices) == 3:
            if fault == "raise":
                raise KeyError("npu")
            return {"latency_ms": NAN}
        return {}

    settings = SearchSettings(journal=tmp_path / "j", trials=8, proposals=60, seed=3)
    result = search(small(), broken_price, try_plan, settings)
    [failed] = [trial for trial in result.trials if trial.state == "failed"]
    assert failed.error.startswith("its price: ") and len(result.complete) == 8


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    calls=st.sets(st.integers(1, 20), max_size=6),
    name=st.sampled_from(sorted(FAULTS)),
    sampler=st.sampled_from(["tpe", "gate"]),
)
def test_failures_of_any_calls_lose_no_other_trial(
    calls: set[int], name: str, sampler: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    journal = tmp_path_factory.mktemp("failures") / "study.journal"
    evaluate = FailingEvaluation(calls, FAULTS[name][0])
    own = GateSampler(small(), lambda plan: [(1.0, 1.0)] * (len(plan.cores) + 1), seed=3)
    changes = {} if sampler == "tpe" else {"sampler": lambda number: own}
    try:
        result = run(journal, evaluate, **changes)
    except UserError as error:
        assert str(error).startswith("search: ") and len(str(error).splitlines()) == 1
        result = engine.read(journal)
    assert len(evaluate.plans) == len(set(evaluate.plans))
    states = {trial.plan: trial.state for trial in result.trials if trial.state != "duplicate"}
    for k, plan in enumerate(evaluate.plans, 1):
        assert states[plan] == ("failed" if k in calls else "complete")
    for line in journal.read_text().splitlines():
        json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} in the journal"))


def fail_by_digest(plan: GatePlan, fault: str) -> Any:
    """Return the outcome of a plan, but fail for a sixth of all plans; a worker process can call this function."""
    return FAULTS[fault][0]() if int(plan.digest, 16) % 6 == 0 else try_plan(plan)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["it raises", "NaN objective", "no JSON"])
def test_worker_processes_report_failures(fault: str, tmp_path: Path) -> None:
    evaluate = partial(fail_by_digest, fault=fault)
    result = run(tmp_path / "study.journal", evaluate, LocalWorkers(evaluate, workers=2), trials=14)
    failed = {trial.plan for trial in result.trials if trial.state == "failed"}
    assert failed and all(int(plan.digest, 16) % 6 == 0 for plan in failed) and len(result.complete) == 14


class CannotBeLoaded:
    def __reduce__(self) -> Any:
        return (json.loads, ("no JSON",))


@pytest.mark.slow
def test_a_worker_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^search.executor: a worker cannot start: JSONDecodeError: "):
        run(tmp_path / "study.journal", try_plan, LocalWorkers(CannotBeLoaded(), workers=1))  # type: ignore[arg-type]
