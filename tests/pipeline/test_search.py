"""The trials of a search: interrupted in a training, and evaluated by a copy of the evaluator."""

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
def searched(place: Path) -> Callable[[str], RunResult]:
    """A run on the tones up to the end of its search; in a folder that is there it goes on."""
    words = tones.write(place / "tones")
    loaded = recipe.load("kws.yaml", [f"data.root={words}", *tones.TINY, *SETTINGS])
    return lambda name: pipeline.do_steps(loaded, RunFolder(Path(name)), until="search")


def outcome(result: RunResult) -> tuple[Any, ...]:
    """Return all that a search leaves, but times."""
    return tuple((t.number, t.plan, t.state, t.objectives, t.feasible) for t in result.trials.trials)


def test_each_combination_of_gates_is_trained_once(
    searched: Callable[[str], RunResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings, first = Trainings(monkeypatch), searched("whole")
    complete = first.trials.complete
    assert len(complete) == 5
    assert trainings.count == 1 + len({trial.plan.gates for trial in complete})  # the baseline, too
    again = Trainings(monkeypatch)
    assert outcome(searched("whole")) == outcome(first)
    assert again.count == 0


def test_a_copy_of_the_evaluator_comes_to_the_same(searched: Callable[[str], RunResult]) -> None:
    result = searched("whole")
    plan = result.trials.complete[0].plan
    evaluate = Evaluator(result.problem, result.baseline, result.cost, Path("checkpoints"))
    assert pickle.loads(pickle.dumps(evaluate))(plan) == evaluate(plan)


def test_a_search_that_was_interrupted_in_a_training_ends_as_one_that_was_not(
    searched: Callable[[str], RunResult],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        Trainings(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            searched("cut")
    assert outcome(searched("cut")) == outcome(searched("whole"))
