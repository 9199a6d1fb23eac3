"""Tests of searches that compose plans of gates that train alone."""

from __future__ import annotations

import csv
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gatesearch import recipe
from gatesearch.pipeline import run as pipeline
from gatesearch.pipeline.composed_order import ComposedOrder
from gatesearch.pipeline.evaluate import Evaluator
from gatesearch.pipeline.heads import train_heads
from gatesearch.pipeline.result import RunResult
from gatesearch.pipeline.run_dir import RunFolder
from tests import tones
from tests.pipeline.trainings import Trainings

pytestmark = pytest.mark.usefixtures("place")
SETTINGS = (
    "space.gates={min: 0, max: 2}",
    "space.kinds={gc: {mode: [channel], keep: [0.5, 1.0], recall: [0.9, 0.95]}}",
    "search.compose=true",
    "search.trials=10",
    "search.finalists=1",
    "constraints.min_gate_recall=0.1",
)


@pytest.fixture(scope="module")
def run_search(place: Path) -> Callable[[str], RunResult]:
    """Return a function that runs the steps up to the search in a folder, or resumes the run in this folder."""
    words = tones.write(place / "tones")
    loaded = recipe.load("kws_clips.yaml", [f"data.root={words}", *tones.TINY, *SETTINGS])
    return lambda name: pipeline.do_steps(loaded, RunFolder(Path(name)), until="search")


def outcome(result: RunResult) -> tuple[Any, ...]:
    return tuple((t.number, t.plan, t.state, t.method, t.objectives, t.feasible) for t in result.trials.trials)


def test_only_plans_with_other_gates_are_trained(
    run_search: Callable[[str], RunResult], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trainings, result = Trainings(monkeypatch), run_search("whole")
    methods = {trial.plan.gates: trial.method for trial in result.trials.complete}
    assert {gates: all(gate["keep"] == 1.0 for gate in gates) for gates in methods} == {
        gates: method == "composed" for gates, method in methods.items()
    }
    trained = [gates for gates, method in methods.items() if method == "trained"]
    assert trainings.count == 3 + len(trained) + 1  # the baseline, the ungated trial, the heads; one finalist
    assert "Kendall's tau to 1 trained" in " ".join(capsys.readouterr().out.split())
    with Path("whole/trials.csv").open(newline="") as file:
        assert {row["method"] for row in csv.DictReader(file)} >= {"composed"}
    again = Trainings(monkeypatch)
    assert outcome(run_search("whole")) == outcome(result)
    assert again.count == 0


def test_a_copy_of_the_evaluator_composes_the_same_plans(run_search: Callable[[str], RunResult]) -> None:
    result = run_search("whole")
    heads = train_heads(result.problem, result.baseline, result.folder)
    evaluate = Evaluator(result.problem, result.baseline, result.cost, Path("checkpoints"), heads)
    trial = next(trial for trial in result.trials.complete if trial.method == "composed" and trial.plan.gates)
    assert pickle.loads(pickle.dumps(evaluate))(trial.plan) == evaluate(trial.plan)
    assert evaluate(trial.plan).objectives == trial.objectives


@pytest.mark.parametrize("training", [2, 3])  # the ungated trial, the heads
def test_an_interrupted_training_of_heads_gives_the_same_trials(
    run_search: Callable[[str], RunResult], training: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        Trainings(patch, training)
        with pytest.raises(KeyboardInterrupt):
            run_search(f"cut-{training}")
    assert outcome(run_search(f"cut-{training}")) == outcome(run_search("whole"))


def test_a_low_tau_of_enough_plans_is_named() -> None:
    rising = tuple((float(k), float(k)) for k in range(4))
    falling = tuple(reversed(rising))
    assert "low: search.compose=false" in ComposedOrder(tuple("abcd"), rising, falling).describe()
    assert "low" not in ComposedOrder(tuple("abcd"), rising, rising).describe()
