"""Tests of the benchmark of search methods: tables of trained plans, searches that replay them, and the page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gatesearch.errors import UserError
from gatesearch.plan import GatePlan
from gatesearch.report.rows import Row
from gatesearch.search import pareto
from results import run as bench
from results.search import table
from results.search.engines import ENGINES, gate, sparse_random
from results.search.library_engines import ranks
from results.search.page import SearchEngines
from results.search.recording import ROWS, rows
from results.search.replay import PROPOSALS, Budget, Replay, Step, volumes
from results.search.replays import Outcome, _per_training
from results.search.spaces import RECORDED, gates_to_train
from tests.search.small_spaces import small

AFTER = {"gc": ["recall"]}
TABLES = Path(__file__).parents[2] / "results" / "search" / "tables"
SHARES = {"positive": 0.25, "noise": 0.75}


@pytest.fixture(scope="module")
def small_table(tmp_path_factory: pytest.TempPathFactory) -> table.Table:
    """Return a table of the small space with two epochs; a gate at the input costs more quality than a deeper gate."""
    space, rows = small(kinds={"gc": {"mode": ["channel"], "keep": [0.5, 1.0], "recall": [0.9, 0.99]}}), {}
    for plan in space.plans():
        gates = gates_to_train(plan, AFTER)
        row = rows.setdefault(gates, {"gates": [g.to_dict() for g in gates], "seconds": [1.0, 2.0], "cores": {}})
        runs = [[1.0, 1.0], *([0.5, 0.4] if core == "npu" else [1.0, 0.1] for core in plan.cores)]
        row["cores"][",".join(plan.cores)] = {"runs": runs, "broken": [] if plan.cores[0] == "mcu" else ["npu.sram"]}
        after = [[gate["recall"]] for gate in plan.gates]
        lost = sum(0.1 * (1 - g["keep"]) + 0.5 * (1 - g["recall"]) + 0.01 * (g.site == "input") for g in plan.gates)
        noise = [0.4**k for k in range(len(plan.cores))]
        reading = {"after": after, "quality": 0.9 - lost, "passed": {"positive": [1.0] * len(noise), "noise": noise}}
        epochs = row.setdefault("epochs", [[], []])
        if after not in [r["after"] for r in epochs[1]]:
            epochs[0].append({**reading, "quality": 0.6 - lost})
            epochs[1].append(reading)
    path = tmp_path_factory.mktemp("table") / "small.json.gz"
    table.write(path, space, SHARES, list(rows.values()), {"after": AFTER})
    return table.read(path, "small")


def test_a_table_holds_every_plan_at_its_price(small_table: table.Table) -> None:
    assert len(small_table.plans) == len(set(small_table.plans)) == len(small_table.space)
    plan = next(p for p in small_table.plans if len(p.gates) == 1 and p.cores == ("mcu", "npu"))
    reach = 0.25 + 0.75 * 0.4
    _, latency, energy = small_table.point(small_table.index[plan])
    assert (latency, energy) == pytest.approx((2 + 0.5 * reach, 1.1 + 0.4 * reach))
    one = {
        small_table.training[i]
        for i, p in enumerate(small_table.plans)
        if gates_to_train(p, AFTER) == gates_to_train(plan, AFTER)
    }
    assert len(one) == 1


def test_the_true_front_is_the_front_of_all_plans(small_table: table.Table) -> None:
    feasible = [i for i in range(len(small_table.plans)) if small_table.allowed[i]]
    feasible = [i for i in feasible if small_table.errors[i, -1] <= small_table.limit]
    points = [small_table.point(i) for i in feasible]
    assert {small_table.point(i) for i in small_table.front} == {points[i] for i in pareto.front(points)}
    assert (
        small_table.volume(range(len(small_table.plans))) >= small_table.volume(small_table.front) == pytest.approx(1)
    )


def test_evaluations_repeats_and_impossible_plans_are_counted(small_table: table.Table) -> None:
    replay = Replay(small_table, 2)
    able = [p for i, p in enumerate(small_table.plans) if small_table.allowed[i]]
    never = next(p for i, p in enumerate(small_table.plans) if not small_table.allowed[i])
    assert replay.ask(never) is None
    assert replay.ask(able[0]) == replay.ask(able[0]) == small_table.index[able[0]]
    assert replay.ask(able[1], 1) is not None and replay.ask(able[1]) is not None  # continues the training
    with pytest.raises(Budget):
        replay.ask(able[2])
    trace = replay.trace
    assert (len(trace.plans), trace.repeats, trace.priced_out) == (2, 1, 1)
    assert [step.trained for step in trace.steps] == [2, 1, 1]


def test_the_replay_of_an_engine_that_repeats_plans_ends(small_table: table.Table) -> None:
    replay = Replay(small_table, 3)
    with pytest.raises(Budget):
        for _ in range(100):
            replay.ask(small_table.plans[0])
    assert replay.trace.repeats == 3 * PROPOSALS - 1 and replay.trace.cut
    spent = Replay(small_table, 1)
    with pytest.raises(Budget):
        for number in np.flatnonzero(small_table.allowed)[:2]:
            spent.ask(small_table.plans[number])
    assert not spent.trace.cut


def test_only_full_trainings_count(small_table: table.Table) -> None:
    best = small_table.front[0]
    half, whole = Step(best, 1, 1), Step(best, 2, 1)
    shares = volumes(small_table, [half, whole])
    assert shares[0] == 0 < shares[1]
    assert _per_training(small_table, [half, whole], shares) == [shares[1]]
    assert _per_training(small_table, [half], shares[:1]) == []


def test_gate_sampler_reaches_the_front_before_random_draws_and_repeats_nothing(small_table: table.Table) -> None:
    def curve(engine: object, seed: int) -> list[float]:
        replay = Replay(small_table, 15)
        engine(replay, seed)  # type: ignore[operator]
        assert engine is not gate or (not replay.trace.repeats and not replay.trace.priced_out)
        return volumes(small_table, replay.trace.steps)

    ours, chance = ([curve(engine, seed)[-1] for seed in range(3)] for engine in (gate, sparse_random))
    assert min(ours) > 0.95 and np.mean(ours) > np.mean(chance)


@pytest.mark.parametrize(
    "name", [name for name in ENGINES if "GP" not in name and "pymoo" not in name and "Syne" not in name]
)
def test_engines_use_their_budget_and_repeat_for_a_seed(name: str, small_table: table.Table) -> None:
    traces = []
    for _ in range(2):
        replay = Replay(small_table, 6)
        ENGINES[name](replay, 3)
        traces.append(replay.trace.steps)
    assert traces[0] == traces[1]
    assert 0 < sum(step.trained for step in traces[0]) <= 6 * small_table.epochs


def test_repeated_proposals_of_optuna_are_counted(small_table: table.Table) -> None:
    replay = Replay(small_table, 20)
    ENGINES["random"](replay, 0)
    assert replay.trace.repeats > 0


@pytest.mark.parametrize("library", ["pymoo", "syne_tune"])
def test_engines_of_other_libraries_run_on_a_replay(library: str, small_table: table.Table) -> None:
    pytest.importorskip(library, reason="extra bench is not installed")
    replay = Replay(small_table, 25)
    ENGINES["pymoo NSGA-II" if library == "pymoo" else "Syne Tune MO-ASHA"](replay, 0)
    assert len(replay.trace.plans) > 5


def test_successive_halving_promotes_a_training_by_its_own_rank() -> None:
    pytest.importorskip("syne_tune", reason="extra bench is not installed")
    from syne_tune.optimizer.schedulers.multiobjective.multiobjective_priority import NonDominatedPriority

    points = np.array([[3.0, 3.0], [4.0, 4.0], [1.0, 1.0], [2.0, 2.0], [1.0, 1.0]])
    assert ranks(points).tolist() == [3, 4, 0, 2, 0]
    # Syne Tune's own function returns the order of the points in place of their ranks. If this check fails, Syne Tune
    # returns ranks, and ``ranks`` is not needed any more.
    assert NonDominatedPriority()(points[:4]).tolist() == [2, 3, 0, 1]


def outcome_of(engine: str, first: int, evaluations: int = 4) -> Outcome:
    """Return the outcome of an engine that reaches 95 % of the hypervolume at evaluation ``first``."""
    curve = [0.96 if n >= first else 0.5 for n in range(1, evaluations + 1)]
    none: dict[int, float] = {0: 0.0}
    return Outcome("small", engine, evaluations, {0: curve}, none, none, {0: False}, {0: "x"}, none, none)


def test_an_engine_that_never_reaches_95_percent_is_not_called_the_best(small_table: table.Table) -> None:
    def compare(*outcomes: Outcome) -> list[Row]:
        return SearchEngines("none", [small_table], outcomes).compare_with_best_other_engine(small_table)

    ours = outcome_of("GateSampler", 2)
    [there] = compare(ours, outcome_of("random", 9), outcome_of("Optuna TPE", 4))
    assert "best other engine (Optuna TPE) over" in there.name and there.value == 4 / 2
    [never] = compare(ours, outcome_of("random", 9), outcome_of("sparse random", 20, evaluations=20))
    assert "at least median of the best other engine (none within 4) over" in never.name and never.value == 5 / 2
    assert compare(ours) == []


def test_the_page_shows_every_engine_and_its_table() -> None:
    kws16 = table.read(TABLES / "kws16.json.gz", "kws16")
    outcomes = [
        replace(outcome_of("GateSampler", 2), table="kws16"),
        replace(outcome_of("Optuna TPE", 4), table="kws16"),
    ]
    text = SearchEngines("the command", [kws16], outcomes, TABLES.parents[1]).text()
    assert "## Table kws16: 2,799 plans" in text and "Made by `gatesearch bench search record=kws16`" in text
    assert "The best other engine to 95 %: Optuna TPE after 4, 2.0 times GateSampler's (to reach: >= 4)." in text
    assert "| pymoo NSGA-II | not run" in text
    assert "| before: TPE | 18 / 19 / 18 | 0.752 / 0.744 / 0.505 |" in text and "halving" not in text


def test_a_truncated_last_line_of_a_recording_is_dropped(tmp_path: Path) -> None:
    (tmp_path / ROWS).write_text(json.dumps({"trained": "a"}) + "\n" + '{"trained": "b", "ep')
    assert rows(tmp_path) == [{"trained": "a"}]
    assert (tmp_path / ROWS).read_text() == '{"trained": "a"}\n'
    assert rows(tmp_path / "nowhere") == []


def test_the_tables_in_the_repository_are_complete() -> None:
    for name in RECORDED:
        path = TABLES / f"{name}.json.gz"
        read = table.read(path, name)
        assert len(read.plans) == len(read.space) and path.stat().st_size < 2e6
        assert np.isfinite(read.errors).all() and read.volume(read.front) == pytest.approx(1)


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("tabels=kws", "bench search: unknown key 'tabels'"),
        ("record=kvs", "bench search: record: unknown record 'kvs'"),
        ("engines=tpe", "bench search: engines: unknown engines 'tpe'"),
        ("seeds=some", "bench search: seeds=some: not a whole number from 1"),
        ("compare=0", "bench search: compare=0: not a whole number from 1"),
    ],
)
def test_wrong_arguments_give_an_error_of_one_line(
    argument: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        bench("search", [argument])
    assert str(error.value).startswith(line), str(error.value)


def test_a_small_space_holds_each_plan_once() -> None:
    plans = list(small().plans())
    assert len(plans) == len(set(plans)) == len(small())
    assert all(isinstance(plan, GatePlan) for plan in plans)
