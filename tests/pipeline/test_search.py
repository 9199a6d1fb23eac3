"""Tests that a search trains each combination of gates once, and gives the same trials after an interruption."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gatesearch import recipe
from gatesearch.pipeline import run as pipeline
from gatesearch.pipeline.evaluate import Evaluator
from gatesearch.pipeline.result import RunResult
from gatesearch.pipeline.run_dir import RunFolder
from tests import tones
from tests.pipeline.trainings import Trainings

pytestmark = pytest.mark.usefixtures("place")
SETTINGS = ("space.gates={min: 0, max: 1}", "search.trials=5", "constraints.min_gate_recall=0.1")


@pytest.fixture(scope="module")
def run_search(place: Path) -> Callable[[str], RunResult]:
    """Return a function that runs the steps up to the search in a folder, or resumes the run in this folder."""
    words = tones.write(place / "tones")
    loaded = recipe.load("kws_clips.yaml", [f"data.root={words}", *tones.TINY, *SETTINGS])
    return lambda name: pipeline.do_steps(loaded, RunFolder(Path(name)), until="search")


def outcome(result: RunResult) -> tuple[Any, ...]:
    """Return the trials of a search without their times."""
    return tuple((t.number, t.plan, t.state, t.objectives, t.feasible) for t in result.trials.trials)


def test_each_combination_of_gates_is_trained_once(
    run_search: Callable[[str], RunResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings, first = Trainings(monkeypatch), run_search("whole")
    complete = first.trials.complete
    assert len(complete) == 5
    assert trainings.count == 1 + len({trial.plan.gates for trial in complete})  # 1 for the baseline
    again = Trainings(monkeypatch)
    assert outcome(run_search("whole")) == outcome(first)
    assert again.count == 0


def test_a_copy_of_the_evaluator_gives_the_same_outcome(run_search: Callable[[str], RunResult]) -> None:
    result = run_search("whole")
    plan = result.trials.complete[0].plan
    evaluate = Evaluator(result.problem, result.baseline, result.cost, Path("checkpoints"))
    assert pickle.loads(pickle.dumps(evaluate))(plan) == evaluate(plan)


def test_a_journal_that_lost_trials_is_named(
    run_search: Callable[[str], RunResult], capsys: pytest.CaptureFixture[str]
) -> None:
    first = run_search("emptied")
    Path("emptied/study.journal").write_bytes(b"")
    capsys.readouterr()
    assert outcome(run_search("emptied")) == outcome(first)
    assert "study.journal: holds 0 trials, and trials.csv lists 5" in " ".join(capsys.readouterr().err.split())
    assert any("trials.csv lists 5" in line for line in RunFolder(Path("emptied")).read_json("logs/warnings.json"))


def test_a_search_interrupted_in_a_training_gives_the_same_result(
    run_search: Callable[[str], RunResult],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        Trainings(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            run_search("cut")
    assert outcome(run_search("cut")) == outcome(run_search("whole"))
