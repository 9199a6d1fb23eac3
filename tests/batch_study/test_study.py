"""Tests of batch-size studies on a noisy quadratic problem, whose critical batch size can be computed."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gatesearch.batch_study.bootstrap import bootstrap
from gatesearch.batch_study.config import Config
from gatesearch.batch_study.findings import BatchStudy, Pilot, rank_trials
from gatesearch.batch_study.outcome import build_outcome
from gatesearch.batch_study.settings import Settings
from gatesearch.batch_study.space import Edge, Range, Space
from gatesearch.batch_study.study import Study
from gatesearch.batch_study.trade_off import fit_trade_off, local_slopes, name_regime, steps_to_goal
from gatesearch.errors import UserError
from tests.batch_study.quadratic import Descent, NoisyQuadratic, expected_steps

ONE = Range(1.0, 1.0, 1.0, 1.0)
# A space of learning rates without decay, because the formula for the expected loss (quadratic.py) has none.
STEADY = Space(
    rate=Range(0.3, 300.0, 1e-6, 1e6), slack=Range(0.05, 1.0, 0.05, 1.0), decay=replace(ONE, log=False), end=ONE
)
SMALL = Settings(batches="32..128", trials=6, pilot=4, goal=0.1, seeds=2)
Result = tuple[Pilot, tuple[BatchStudy, ...]]


def run(path: Path, settings: Settings = SMALL, space: Space = STEADY, seed: int = 0) -> tuple[Result, int]:
    """Return the results of a study, and the number of training steps that the study took."""
    problem = NoisyQuadratic()
    return Study(problem, settings, path, epochs=1, seed=seed, space=space).run(), problem.steps


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Study, "count_steps", lambda self, epochs, batch: 80)


@pytest.mark.usefixtures("short")
def test_a_noisy_quadratic_shows_three_regimes_and_its_critical_batch_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gatesearch.batch_study.bootstrap.DRAWS", 300)
    settings = Settings(batches="16..2048", trials=64, goal=0.1)
    grid = [Config(r, s, 1.0, 1.0) for r in np.geomspace(0.1, 300.0, 25) for s in np.geomspace(0.05, 1.0, 8)]
    least = [expected_steps(grid, batch, 0.1, 400) for batch in settings.batch_sizes]
    true_fit, inside = fit_trade_off(settings.batch_sizes, least), []
    assert true_fit is not None
    for seed in range(3):
        (_, studies), _ = run(tmp_path / f"{seed}.jsonl", settings, seed=seed)
        steps = [steps_to_goal(study) for study in studies]
        assert steps == pytest.approx(least, rel=0.25)
        local = local_slopes(settings.batch_sizes, steps)
        assert local == pytest.approx(local_slopes(settings.batch_sizes, least), abs=0.3)
        names = [name_regime(slope) for slope in local]
        assert list(dict.fromkeys(names))[:3] == ["perfect scaling", "diminishing returns", "maximal parallelism"]
        fit, drawn = fit_trade_off(settings.batch_sizes, steps), bootstrap(studies, seed).critical_batch
        assert fit is not None and fit.critical_batch == pytest.approx(true_fit.critical_batch, rel=0.2)
        assert drawn is not None and drawn[0] < fit.critical_batch < drawn[1] < 2 * drawn[0]
        inside.append(drawn[0] < true_fit.critical_batch < drawn[1])
    assert sum(inside) >= 2  # two of three 90 % intervals contain the true critical batch size


@pytest.mark.usefixtures("short")
def test_a_killed_study_resumes_to_the_same_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatesearch.batch_study.bootstrap.DRAWS", 50)
    whole, again = tmp_path / "whole.jsonl", tmp_path / "again.jsonl"
    (pilot, studies), steps = run(whole)
    unbroken = build_outcome(pilot, studies, 0)
    lines = whole.read_bytes().splitlines(keepends=True)
    for count in (0, 3, len(lines) // 2, len(lines) - 1):
        again.write_bytes(b"".join(lines[:count]) + lines[count][: len(lines[count]) // 2])
        (pilot, studies), more = run(again)
        assert build_outcome(pilot, studies, 0) == unbroken
        assert (more == steps) == (count == 0)
        journals = [
            [json.loads(line) | {"seconds": 0} for line in path.read_text().splitlines()] for path in (whole, again)
        ]
        assert journals[0] == journals[1]
    _, more = run(again)
    assert more == 0


@pytest.mark.usefixtures("short")
def test_every_training_is_on_disk_when_it_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, step, calls = tmp_path / "trials.jsonl", Descent.step, []

    def interrupted(self: Descent, learning_rate: float, momentum: float) -> float:
        calls.append(1)
        if len(calls) > 400:
            raise KeyboardInterrupt
        return step(self, learning_rate, momentum)

    monkeypatch.setattr(Descent, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(path)
    ran = [json.loads(line)["ran"] for line in path.read_text().splitlines()]
    assert len(ran) >= 4 and sum(one["steps"] for one in ran) <= 400


@pytest.mark.usefixtures("short")
def test_a_bound_near_the_best_point_is_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The range of rates is narrow and too low, so the best point is at its high bound.
    monkeypatch.setattr("gatesearch.batch_study.study.RATE_FACTOR", 2.0)
    space = replace(STEADY, rate=replace(STEADY.rate, low=0.4, high=0.6))
    (pilot, studies), _ = run(tmp_path / "trials.jsonl", space=space)
    for study in studies:
        assert Edge("rate", 1) in study.moved_edges and len(study.trials) >= SMALL.trials + 8 * len(study.moved_edges)
        first, best = study.trials[: SMALL.trials], rank_trials(study.trials)[0]
        bound = 2.0 * pilot.rate * math.sqrt(study.batch / pilot.batch)
        assert max(entry.config.rate for entry in first) <= bound < best.config.rate
        assert best.result.steps < min(entry.result.steps_to_goal for entry in first)
    # A bound may move twice. The outcome names the bounds for which that was not enough.
    assert any(study.near_edges for study in studies)


@pytest.mark.usefixtures("short")
def test_a_goal_out_of_reach_leaves_censored_points(tmp_path: Path) -> None:
    settings = SMALL.model_copy(update={"goal": 1e-6})
    (pilot, studies), _ = run(tmp_path / "trials.jsonl", settings)
    assert pilot.goal == 1e-6 and pilot.steps == pilot.budget
    outcome = build_outcome(pilot, studies, 0)
    assert outcome["critical"] is outcome["batch_size"] is None
    for point in outcome["points"]:
        assert point["steps"] is point["best"] is point["regime"] is None
        assert point["reached"] == 0 and point["ended"] + point["diverged"] == point["trials"]
        assert point["fixed_steps"] == []


@pytest.mark.usefixtures("short")
def test_the_best_trials_of_the_pilot_reach_its_goal(tmp_path: Path) -> None:
    settings = SMALL.model_copy(update={"goal": None, "pilot": 8})
    (pilot, studies), _ = run(tmp_path / "trials.jsonl", settings)
    assert pilot.batch == 64 and pilot.budget == 80
    assert 0 < pilot.goal < 0.5 and pilot.steps <= 48
    assert any(study.repeats for study in studies)
    cap = {study.batch: study.budget for study in studies}
    assert cap[64] == math.ceil(3.5 * pilot.steps) and cap[32] == 7 * pilot.steps
    assert cap[128] == math.ceil(3.5 * 0.5 * pilot.steps)


@pytest.mark.usefixtures("short")
def test_slow_trainings_are_stopped_early_but_never_the_best(tmp_path: Path) -> None:
    (_, studies), _ = run(tmp_path / "trials.jsonl", Settings(batches="32..128", trials=24, pilot=4, goal=0.1, seeds=1))
    for study in studies:
        for k, entry in enumerate(study.trials):
            fastest = rank_trials(study.trials[:k])[:3]
            if len(fastest) == 3:
                assert entry.result.steps <= 2 * fastest[2].result.steps
            elif entry.result.state == "ended":
                assert entry.result.steps == study.budget
    assert any(e.result.state == "ended" and e.result.steps < study.budget for study in studies for e in study.trials)


def test_batch_sizes_above_the_training_split_are_left_out(tmp_path: Path) -> None:
    study = Study(
        NoisyQuadratic(100), SMALL.model_copy(update={"batches": "8..4096"}), tmp_path / "t", epochs=1, seed=0
    )
    assert study.batch_sizes == [8, 16, 32, 64]
    with pytest.raises(UserError, match=r"^batches=32\.\.128: 1 batch sizes fit into a training split of 50 samples"):
        Study(NoisyQuadratic(50), SMALL, tmp_path / "t", epochs=1, seed=0)


@pytest.mark.usefixtures("short")
def test_a_pilot_that_always_diverges_gives_an_error_of_one_line(tmp_path: Path) -> None:
    wild = replace(STEADY, rate=Range(1e5, 1e6, 1e5, 1e6))
    with pytest.raises(UserError, match="all 4 trainings of the pilot diverged at batch size 64"):
        run(tmp_path / "trials.jsonl", space=wild)
