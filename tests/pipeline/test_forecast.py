"""Tests that a forecast says what a run searches and takes, trains nothing, and leaves no run folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gatesearch
from gatesearch.cli import app
from gatesearch.errors import UserError
from gatesearch.pipeline import dry_run, price_range
from gatesearch.pipeline.forecast import Forecast
from gatesearch.search.space import Space
from tests import tones
from tests.pipeline import small_run
from tests.pipeline.trainings import Trainings

pytestmark = pytest.mark.usefixtures("place")


def forecast(**settings: Any) -> Forecast:
    result = gatesearch.run(small_run.network(), small_run.images(), dry_run=True, **(small_run.SETTINGS | settings))
    assert isinstance(result, Forecast)
    return result


@pytest.fixture(autouse=True, scope="module")
def without_exports() -> Iterator[None]:
    """Leave the dry run of the export out, which has tests of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dry_run, "_try_all", lambda problem: [])
        yield


@pytest.fixture(scope="module")
def whole(place: Path, without_exports: None) -> Forecast:
    return forecast()


@pytest.mark.slow
def test_a_forecast_counts_the_trainings_of_the_run(
    whole: Forecast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings = Trainings(monkeypatch)
    result = small_run.run(tmp_path / "run")
    assert trainings.count == sum(phase.trainings for phase in whole.phases)
    assert whole.plans == len(result.problem.space) and whole.cut_sites == 1 and whole.layer_sites == 0
    energies = [trial.objectives.energy_uj for trial in result.trials.complete if trial.objectives]
    assert energies and max(energies) <= whole.prices.dearest.energy_uj
    assert whole.prices.cheapest.energy_uj < whole.prices.dearest.energy_uj
    ungated = result.record.summary["baseline"]["energy_uj"]
    assert whole.prices.ungated.energy_uj == pytest.approx(ungated)


def test_prices_have_memory_and_provenance_and_phases_have_time(whole: Forecast) -> None:
    for price in (whole.prices.cheapest, whole.prices.ungated, whole.prices.dearest):
        assert price.time_provenance and all(used["flash"] > 0 for used in price.memory_bytes.values())
    assert sum(whole.prices.constants.values()) > 0
    assert [phase.name for phase in whole.phases] == ["baseline", "search", "retrain"]
    assert all(phase.step_s > 0 for phase in whole.phases) and whole.memory_bytes > 0
    assert whole.seconds == pytest.approx(whole.preparation_s + sum(phase.seconds for phase in whole.phases))
    assert json.loads(json.dumps(whole.to_dict()))["phases"][1]["trainings"] == 1


def test_a_composed_search_trains_its_heads_alone() -> None:
    space = small_run.SETTINGS["space"] | {"kinds": {"gc": {"mode": ["channel"], "keep": [1.0], "recall": [0.9]}}}
    phases = forecast(space=space, search={"trials": 2, "epochs": 1, "compose": True}).phases
    assert {phase.name: phase.trainings for phase in phases} == {
        "baseline": 1,
        "heads": 2,
        "search": 0,
        "finalists": 2,
        "retrain": 2,
    }


def test_plans_of_a_large_space_are_drawn_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    space = Space((), tuple(f"core{k}" for k in range(9)), 0, 0)
    monkeypatch.setattr(price_range, "MAX_PLANS", 5)
    plans = list(price_range.draw_plans(space, seed=0))
    assert len(plans) == len(set(plans)) == 5 and plans == list(price_range.draw_plans(space, seed=0))


def test_the_command_prints_json_and_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = tones.write(tmp_path / "tones")
    monkeypatch.chdir(tmp_path)
    settings = ["run", "recipe=kws_clips.yaml", f"data.root={words}", *tones.TINY, "dry_run=true"]
    assert app.main([*settings, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["cut_sites"] == 1 and document["seconds"] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["tones"]
    assert app.main([*settings, "out=here"]) == 0
    out = capsys.readouterr().out
    assert "expected time" in out and "cheapest" in out and "dry run: nothing was trained" in out
    assert [path.name for path in tmp_path.iterdir()] == ["tones"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["dry_run=maybe"], "dry_run=maybe: write dry_run=true, or leave it out"),
        (["dry_run=true", "serch.trials=3"], "nearest: 'search"),
        (["dry_run=true", "resume=somewhere"], "dry_run=true: resume=somewhere goes on with a run that has begun"),
        (["--json"], "--json: is for dry_run=true"),
    ],
)
def test_words_that_cannot_be_used_end_with_one_line(
    words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.main(["run", "recipe=kws_clips.yaml", *words]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and line in error


def test_a_folder_that_holds_a_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").touch()
    with pytest.raises(UserError, match="holds a run already"):
        forecast(out=tmp_path)
    with pytest.raises(UserError, match="leave one of them out"):
        forecast(resume=tmp_path)
