"""Which engine searches: trainings alone, or a supernet before them; cut off in between; below its bar."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tones
from trainings import Trainings

from gatesearch import recipe
from gatesearch.errors import UserError
from gatesearch.pipeline import strategies
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.pipeline.steps import Run
from gatesearch.search import supernet
from gatesearch.search.supernet.agreement import Agreement
from gatesearch.search.supernet.reader import Reader

pytestmark = pytest.mark.usefixtures("place")
GOOD = Agreement(0.9, 4, 1.0, 0.0)


@pytest.fixture(scope="module")
def run(place: Path) -> Callable[..., Run]:
    """A run on the tones up to where it searches; in a folder that is there it goes on."""
    words = tones.write(place / "tones")

    def made(name: str, *settings: str) -> Run:
        return Run(
            recipe.load("kws.yaml", [f"data.root={words}", *tones.TINY, *tones.SUPERNET, *settings]),
            RunFolder(Path(name)),
        )

    return made


@pytest.fixture
def agreeing(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[float], list[float]]]:
    """Networks this small order plans by chance: let tau be high, and keep what it would be of."""
    seen: list[tuple[list[float], list[float]]] = []

    def of(estimated: Any, trained: Any) -> Agreement:
        seen.append((list(estimated), list(trained)))
        return GOOD

    monkeypatch.setattr(Agreement, "of", of)
    return seen


def outcome(made: Run) -> tuple[Any, ...]:
    """Return all that a search leaves, but times."""
    trials = tuple((t.number, t.plan, t.state, t.objectives, t.feasible) for t in made.result.trials)
    return trials, {key: value for key, value in made.engine.items() if key != "seconds"}


def test_few_plans_are_trained_a_sample_and_the_supernets_front(
    run: Callable[..., Run], agreeing: list[tuple[list[float], list[float]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    fits, made = Trainings(monkeypatch), run("over")
    complete, note = made.result.complete, made.engine
    assert note["used"] == "supernet" and "0.90 against 4 trained plans, at least 0.6" in note["why"]
    assert note["evaluations"] == 12 and (made.folder / strategies.JOURNAL).exists()
    sampled = {row["digest"] for row in note["sample"]}
    assert len(sampled) == 4 and sampled <= {trial.plan.digest for trial in complete}
    assert len({trial.plan.gates for trial in complete} - {t.plan.gates for t in complete[:4]}) <= 2
    # The baseline, the supernet, and each combination of gates once: all that is in the study was trained.
    assert fits.count == 2 + len({trial.plan.gates for trial in complete})
    [(estimated, trained)] = agreeing
    assert [row["estimated"] for row in note["sample"]] == estimated
    accuracy = {trial.plan.digest: trial.objectives.accuracy for trial in complete if trial.objectives}
    assert [accuracy[row["digest"]] for row in note["sample"]] == trained
    assert len(set(estimated)) > 1
    again = Trainings(monkeypatch)
    assert outcome(run("over")) == outcome(made)
    assert again.count == 0


def test_what_a_worker_gets_comes_to_the_same(run: Callable[..., Run], agreeing: object) -> None:
    made = run("over")
    plan = made.result.complete[0].plan
    copy = pickle.loads(pickle.dumps(made))
    assert copy.evaluate(plan) == made.evaluate(plan)


@pytest.mark.parametrize("at", [2, 4, 7])  # the supernet, the sample, its front
def test_a_search_that_was_cut_off_in_a_training_ends_as_one_that_was_not(
    at: int, run: Callable[..., Run], agreeing: object
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        Trainings(patch, at)
        with pytest.raises(KeyboardInterrupt):
            assert run(f"cut{at}").result
    assert outcome(run(f"cut{at}")) == outcome(run("over"))


def test_a_search_that_was_cut_off_over_the_supernet_ends_as_one_that_was_not(
    run: Callable[..., Run], agreeing: object
) -> None:
    reads, read = 0, Reader.__call__

    def counted(self: Reader, gates: Any) -> Any:
        nonlocal reads
        reads += 1
        if reads == 9:
            raise KeyboardInterrupt
        return read(self, gates)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Reader, "__call__", counted)
        with pytest.raises(KeyboardInterrupt):
            assert run("cut-read").result
    assert outcome(run("cut-read")) == outcome(run("over"))


def test_below_the_bar_it_says_so_and_goes_on_by_trials(
    run: Callable[..., Run], capsys: pytest.CaptureFixture[str]
) -> None:
    made = run("fallen", "search.supernet.tau=1.0")
    assert len(made.result.complete) == 8
    assert made.engine["used"] == "trials" and -1 <= made.engine["tau"] < 1
    tau = f"Kendall's tau {made.engine['tau']:.2f} against 4 trained plans"
    assert made.engine["why"] == f"{tau} is below search.supernet.tau=1"
    assert f"supernet: {made.engine['why']}: falls back to trained trials" in capsys.readouterr().out
    assert not (made.folder / strategies.JOURNAL).exists()
    sampled = [row["digest"] for row in made.engine["sample"]]
    assert [trial.plan.digest for trial in made.result.complete[:4]] == sampled  # they count
    assert outcome(run("fallen", "search.supernet.tau=1.0")) == outcome(made)


def test_where_the_supernet_sees_nothing_that_keeps_the_constraints_trials_go_on(
    run: Callable[..., Run], agreeing: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Agreement, "on_scale", lambda self, estimate: -2.0)
    made = run("none", "constraints.max_accuracy_drop=0.9")
    assert made.engine["used"] == "trials" and made.engine["why"] == "by the supernet no plan keeps the constraints"
    assert len(made.result.complete) == 8 and "falls back" in capsys.readouterr().out


def test_a_space_that_a_supernet_cannot_hold(
    run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(supernet, "ELASTIC", {})  # a kind that is not elastic
    with pytest.raises(UserError, match=r"^search\.engine: supernet: it cannot hold this space: gates of kind gc have"):
        assert run("stiff").result
    made = run("either", "search.engine=auto", "search.trials=5")
    assert made.engine["used"] == "trials" and "gates of kind gc" in made.engine["why"]
    assert len(made.result.complete) == 5 and "engine: trials; a supernet cannot hold" in capsys.readouterr().out


def test_auto_takes_a_supernet_where_it_can(run: Callable[..., Run], agreeing: object) -> None:
    made = run("over", "search.engine=auto")  # which has ended
    assert made.engine["used"] == "supernet"


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("search.engine=supernets", "unknown engine 'supernets'; nearest: 'supernet'"),
        ("search.supernet.tau=1.5", "search.supernet.tau"),
        ("search.supernet.sample=40", "40 of 8 trials are for the sample, and none are left"),
        ("search.supernet.epoch=2", "override search.supernet.epoch=2: unknown key 'epoch'; nearest: 'epochs'"),
    ],
)
def test_what_a_recipe_says_of_it_is_checked(setting: str, line: str, run: Callable[..., Run]) -> None:
    with pytest.raises(UserError) as error:
        run("unused", setting)
    assert line in str(error.value)
