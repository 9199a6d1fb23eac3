"""Tests that a user can take any plan of a finished search: the pick has artifacts and a report of its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from gatesearch.cli import app
from gatesearch.errors import UserError
from gatesearch.pipeline import picks
from gatesearch.pipeline.choice import PlanChoice
from gatesearch.pipeline.problem import Inputs
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.search import engine
from gatesearch.search.result import Trial
from tests.pipeline import small_run
from tests.pipeline.trainings import Trainings
from tests.schema_checks import check_run

pytestmark = pytest.mark.usefixtures("place")
EVERY_PLAN = {
    "space": small_run.SETTINGS["space"] | {"cores": ["mcu", "app"]},
    "search": small_run.SETTINGS["search"] | {"trials": 3},
}


@pytest.fixture(scope="module")
def finished(place: Path) -> Path:
    small_run.run(place / "finished", **EVERY_PLAN)
    return place / "finished"


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"


def pick(folder: Path, until: str = "report", **choice: Any) -> Any:
    inputs = Inputs(small_run.network(), small_run.images())
    return picks.pick(folder, PlanChoice(**choice), until, inputs, trust=True)


def read_trials(folder: Path) -> tuple[Trial, ...]:
    return engine.read(folder / "study.journal").complete


def read_summary(folder: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder without picks, and without the lock and the digests, which a pick may change."""
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    changing = ("picks/", "logs/driver.json", "logs/checksums.json")
    return {name: path.read_bytes() for name, path in files.items() if not name.startswith(changing)}


def find_other(folder: Path) -> str:
    """Return the digest of a plan that the run did not pick."""
    best = read_summary(folder)["best"]["digest"]
    return next(trial.plan.digest for trial in read_trials(folder) if trial.plan.digest != best)


def test_another_plan_gets_artifacts_and_a_report_and_the_best_of_the_run_stays(copy: Path) -> None:
    digest, before = find_other(copy), files_of(copy)
    result = pick(copy, plan=digest[:8])
    folder = copy / "picks" / digest
    assert result.folder.path == folder and result.plan.digest == digest
    check_run(folder)
    summary = read_summary(folder)
    assert summary["best"]["digest"] == digest and summary["pick"]["choice"] == f"plan={digest[:8]}"
    assert summary["search"]["trials"] == read_summary(copy)["search"]["trials"]
    assert (folder / "report.html").is_file() and (folder / "best/bundle/manifest.json").is_file()
    after = files_of(copy)
    assert [name for name in before if after[name] != before[name]] == []
    assert all(name.startswith(f"logs/gated-{digest}") or name == "logs/made_here" for name in set(after) - set(before))


def test_a_second_pick_trains_nothing_and_writes_the_same_bundle(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = find_other(copy)
    pick(copy, plan=digest)
    bundle = files_of(copy / "picks" / digest / "best" / "bundle")
    bundle.pop("README.md")  # has times that each call measures
    trainings = Trainings(monkeypatch)
    pick(copy, plan=digest)
    assert trainings.count == 0
    again = files_of(copy / "picks" / digest / "best" / "bundle")
    assert bundle and {name: again[name] for name in bundle} == bundle


def test_a_pick_of_the_best_plan_uses_the_training_of_the_run(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainings, best = Trainings(monkeypatch), read_summary(copy)["best"]
    pick(copy, plan=best["digest"])
    assert trainings.count == 0
    picked = read_summary(copy / "picks" / best["digest"])
    assert picked["best"] == best
    assert (copy / "picks" / best["digest"] / "best/model.ckpt").read_bytes() == (copy / "best/model.ckpt").read_bytes()


def test_an_interrupted_pick_says_how_it_goes_on_and_goes_on(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = find_other(copy)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt) as interrupt:
        Trainings(patch, at=1)
        pick(copy, plan=digest)
    assert interrupt.value.resume_command == f"gatesearch pick {copy} plan={digest}"  # type: ignore[attr-defined]
    assert pick(copy, "retrain", plan=digest).plan.digest == digest


def test_bounds_and_objectives_choose_among_the_tried_plans(copy: Path) -> None:
    trials = read_trials(copy)
    cheapest = min(trials, key=lambda trial: trial.objectives.energy_uj if trial.objectives else 0.0)
    most_accurate = max(trials, key=lambda trial: trial.objectives.accuracy if trial.objectives else 0.0)
    assert cheapest.objectives and most_accurate.objectives
    assert pick(copy, "retrain", objective="energy").plan == cheapest.plan
    power_mw = cheapest.objectives.energy_uj / 1e3 * 1.0001  # a window takes a second
    assert pick(copy, "retrain", max_power_mw=power_mw).plan == cheapest.plan
    accurate = pick(copy, "retrain", objective="accuracy").best.trial
    assert accurate.objectives.accuracy == most_accurate.objectives.accuracy


def test_only_one_process_drives_a_run_or_its_picks(copy: Path) -> None:
    with RunFolder(copy).driver_lock(), pytest.raises(UserError, match="works on it"):
        pick(copy, plan=find_other(copy))


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("plan=zzz", "plan=zzz: none of 3 plans of the search has this digest; nearest: "),
        ("max_power_mw=1e-9", "max_power_mw=1e-09: no plan that keeps the constraints takes so little; nearest: plan="),
        ("max_miss_rate=0.1", "goal classification has no miss rate; wanted: objective= or max_power_mw="),
        ("objective=enery", "pick: unknown objective 'enery'; nearest: 'energy'"),
        ("plan=ab objective=energy", "plan=ab names one plan; leave out objective=energy"),
        ("max_power_mw=less", "max_power_mw=less: wanted: a number above 0"),
        ("objctive=energy", "pick: unknown key 'objctive'; nearest: 'objective'"),
    ],
)
def test_a_choice_that_names_no_plan_is_refused_in_one_line(
    words: str, line: str, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.main(["pick", str(copy), *words.split(), "trust=true"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("gatesearch: ") and line in last
    assert not (copy / "picks").exists()


def test_pick_without_a_choice_lists_the_front(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["pick", str(copy), "trust=true"]) == 0
    out = capsys.readouterr().out
    assert f"pick one with: gatesearch pick {copy} plan=" in out.replace("\n", " ")
    assert any(trial.plan.digest in out for trial in read_trials(copy))


def test_pick_prints_the_front_as_json(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["pick", str(copy), "trust=true", "--json"]) == 0
    front = json.loads(capsys.readouterr().out)
    assert front[0].keys() == {"digest", "quality", "power_mw", "accuracy", "latency_us", "energy_uj", "plan"}
    assert front == sorted(front, key=lambda plan: plan["energy_uj"])


def test_a_search_that_has_not_ended_has_no_picks(copy: Path) -> None:
    (copy / "trials.csv").unlink()
    RunFolder(copy).checksums.forget("trials.csv")  # a search writes the table at its end
    with pytest.raises(UserError, match="its search has not ended"):
        pick(copy, plan="a")
