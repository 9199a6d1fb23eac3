"""A search's trials: cut off in a training, and tried by a worker."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tones
from trainings import Trainings

from gatesearch import recipe
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.pipeline.steps import Run

pytestmark = pytest.mark.usefixtures("place")
SETTINGS = ("space.gates={min: 0, max: 1}", "search.trials=5", "constraints.min_gate_recall=0.1")


@pytest.fixture(scope="module")
def run(place: Path) -> Callable[[str], Run]:
    """A run on the tones up to where it searches; in a folder that is there it goes on."""
    words = tones.write(place / "tones")

    def made(name: str) -> Run:
        return Run(
            recipe.load("kws.yaml", [f"data.root={words}", *tones.TINY, *SETTINGS]),
            RunFolder(Path(name)),
        )

    return made


def outcome(made: Run) -> tuple[Any, ...]:
    """Return all that a search leaves, but times."""
    return tuple((t.number, t.plan, t.state, t.objectives, t.feasible) for t in made.result.trials)


def test_each_combination_of_gates_is_trained_once(run: Callable[[str], Run], monkeypatch: pytest.MonkeyPatch) -> None:
    fits, made = Trainings(monkeypatch), run("whole")
    complete = made.result.complete
    assert len(complete) == 5
    assert fits.count == 1 + len({trial.plan.gates for trial in complete})  # the baseline, too
    again = Trainings(monkeypatch)
    assert outcome(run("whole")) == outcome(made)
    assert again.count == 0


def test_what_a_worker_gets_comes_to_the_same(run: Callable[[str], Run]) -> None:
    made = run("whole")
    plan = made.result.complete[0].plan
    copy = pickle.loads(pickle.dumps(made))
    assert copy.evaluate(plan) == made.evaluate(plan)


def test_a_search_that_was_cut_off_in_a_training_ends_as_one_that_was_not(run: Callable[[str], Run]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        Trainings(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            assert run("cut").result
    assert outcome(run("cut")) == outcome(run("whole"))
