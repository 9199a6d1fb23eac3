"""Tests of searches with each sampler: a search resumes exactly, and GateSampler proposes no plan twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatesearch.plan import GatePlan
from gatesearch.search import Evaluated, Objectives, SearchResult, SearchSettings, search
from gatesearch.search.sampler import choice
from gatesearch.search.sampler.gate_sampler import GateSampler
from gatesearch.search.sampler.history import REACH_ATTR
from tests.search.small_spaces import small

SHARES = {"positive": 0.2, "noise": 0.8}


def runs(plan: GatePlan) -> list[tuple[float, float]]:
    return [(1.0, 1.0), *((0.5, 0.1) if core == "npu" else (1.0, 0.05) for core in plan.cores)]


def evaluate(plan: GatePlan) -> Evaluated:
    passed = {"positive": [1.0], "noise": [1.0]}
    for gate in plan.gates:
        passed["positive"].append(passed["positive"][-1] * 0.99)
        passed["noise"].append(passed["noise"][-1] * (0.7 if gate.site == "input" else 0.4))
    reach = [sum(share * passed[kind][k] for kind, share in SHARES.items()) for k in range(len(plan.cores))]
    costs = [sum(r * run[c] for r, run in zip([1.0, *reach], runs(plan), strict=True)) for c in (0, 1)]
    accuracy = 0.9 - sum(0.1 * (1 - gate["keep"]) for gate in plan.gates) - 0.01 * len(plan.gates)
    return Evaluated(Objectives(accuracy, costs[0], costs[1]), {"accuracy": 0.82 - accuracy}, {REACH_ATTR: passed})


def sampler_of(name: str, seed: int) -> choice.SamplerFactory:
    if name != "gate":
        return choice.build_optuna_sampler(name, seed)
    ours = GateSampler(small(), runs, shares=SHARES, seed=seed)
    return lambda number: ours


def run(journal: Path, name: str, trials: int, seed: int = 1) -> SearchResult:
    return search(
        small(), lambda plan: {}, evaluate,
        SearchSettings(journal=journal, trials=trials, proposals=200, seed=seed, sampler=sampler_of(name, seed)),
    )  # fmt: skip


@pytest.mark.parametrize("name", ["gate", *choice.OPTUNA_SAMPLERS])
def test_a_resumed_search_proposes_the_same_plans_with_any_sampler(name: str, tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", name, 16)
    run(tmp_path / "cut", name, 7)
    assert run(tmp_path / "cut", name, 16) == whole
    assert run(tmp_path / "other", name, 16, seed=2) != whole


def test_gate_sampler_repeats_no_plan_and_soon_finds_the_true_front(tmp_path: Path) -> None:
    guided, exhaustive = run(tmp_path / "guided", "gate", 16), run(tmp_path / "exhaustive", "gate", 10**6)
    assert {trial.state for trial in exhaustive.trials} == {"complete"} and len(exhaustive.trials) == len(small())
    reference = Objectives(0.6, 4.0, 4.0)
    assert guided.hypervolume(reference)[-1] > 0.98 * exhaustive.hypervolume(reference)[-1]


def test_the_pass_rates_of_gates_are_stored_with_the_trial(tmp_path: Path) -> None:
    run(tmp_path / "study", "gate", 5)
    text = (tmp_path / "study").read_text()
    assert text.count(f'"{REACH_ATTR}":') == 5


def test_a_random_search_tries_over_nine_tenths_of_the_plans_of_a_small_space(tmp_path: Path) -> None:
    result = run(tmp_path / "study", "random", 10**6)
    assert len({trial.plan for trial in result.complete}) > 0.9 * len(small())
