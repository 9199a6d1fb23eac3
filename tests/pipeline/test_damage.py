"""Tests of run folders with a damaged file: the resumed run gives the same result, or one line names the file."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatesearch._lib import console
from gatesearch.cli import app
from gatesearch.errors import UserError
from gatesearch.pipeline import pick
from gatesearch.pipeline import run as pipeline
from gatesearch.pipeline.run_dir import RunFolder
from tests.pipeline import small_run

pytestmark = pytest.mark.usefixtures("place")

# A resumed run does not read these files. TensorBoard's files are for people, and each driver writes driver.json anew.
# last.ckpt is not read either: the weights of a finished training are in NAME.ckpt.
UNREAD = ("events.out.tfevents", "hparams.yaml", "driver.json", "last.ckpt")
CHANGING = ("seconds", "streaming", "warnings")
SHORT = 8  # number of damages that the default suite tries


def cut(path: Path, dice: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: dice.randrange(1, max(len(content), 2))])


def zero(path: Path, dice: random.Random) -> None:
    content = path.read_bytes()
    start = dice.randrange(max(len(content) // 2, 1))
    path.write_bytes(content[:start] + bytes(len(content) - start))


def flip(path: Path, dice: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    path.write_bytes(bytes(content))


def empty(path: Path, dice: random.Random) -> None:
    path.write_bytes(b"")


def remove(path: Path, dice: random.Random) -> None:
    path.unlink()


def put_folder(path: Path, dice: random.Random) -> None:
    path.unlink()
    (path / "inside").mkdir(parents=True)


def swap(path: Path, dice: random.Random) -> None:
    """Replace the content of a file by the undamaged content of another file in the same folder."""
    others = [each for each in sorted(path.parent.iterdir()) if each.is_file() and each != path]
    path.write_bytes(dice.choice(others).read_bytes() if others else b"{}")


Damage = Callable[[Path, random.Random], None]
DAMAGES = (cut, zero, flip, empty, remove, put_folder, swap)


@pytest.fixture(scope="module")
def finished(place: Path) -> Path:
    """Run a search to its end, and keep a copy of its folder as it was after the search: ``stopped``."""

    def retrain_best(problem: Any, baseline: Any, cost: Any, trials: Any, folder: RunFolder) -> Any:
        shutil.copytree(folder.path, place / "stopped")
        return pick.retrain_best(problem, baseline, cost, trials, folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "retrain_best", retrain_best)
        small_run.run(place / "finished")
    return place / "finished"


def read_files(folder: Path) -> list[str]:
    names = (str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_file())
    return [name for name in names if not any(word in name for word in UNREAD)]


def figures(folder: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    summary["search"].pop("seconds")
    return {key: value for key, value in summary.items() if key not in CHANGING}


def check(finished: Path, folder: Path, name: str, damage: Damage, seed: int) -> str:
    """Damage one file in a copy of the run, resume the copy, and return its error or its new warnings."""
    shutil.copytree(finished, folder)
    before = (folder / name).read_bytes()
    damage(folder / name, random.Random(seed))
    try:
        small_run.resume(folder)
    except UserError as error:
        line = str(error)
        assert len(line.splitlines()) == 1, line
        assert Path(name).name in line or (name == "recipe.yaml" and "holds no run" in line), line
        return line
    warnings: list[str] = json.loads((folder / "summary.json").read_text())["warnings"]
    new = [line for line in warnings if line not in json.loads((finished / "summary.json").read_text())["warnings"]]
    expected = figures(finished)
    assert figures(folder) == expected, new
    unchanged = (folder / name).is_file() and (folder / name).read_bytes() == before
    named = any(Path(name).name in line for line in new)
    rewritten = name == "report.html"  # every session writes this page anew, and no session reads it
    assert unchanged or named or rewritten or damage is remove, f"{name} was accepted in silence: {new}"
    return "; ".join(new)


def list_cases(finished: Path) -> list[tuple[str, Damage]]:
    return [(name, damage) for name in read_files(finished) for damage in DAMAGES]


def read_report(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the record that a report of a run folder shows, and the warnings."""
    records = []

    def write_page(folder: Path, record: dict[str, Any] | None) -> Path:
        records.append(record or json.loads((folder / "record.json").read_text()))
        return folder

    with pytest.MonkeyPatch.context() as patch, console.collect_warnings() as warnings:
        patch.setattr(pipeline, "write_page", write_page)
        pipeline.report(folder, trust=True)
    return {key: value for key, value in records[0].items() if key not in ("created", "warnings")}, warnings


def check_report(source: Path, data: st.DataObject) -> None:
    """Damage files in a copy of a run, and write its report: it is the same, or a line names one of the files."""
    names = data.draw(st.lists(st.sampled_from(read_files(source)), min_size=1, max_size=2, unique=True))
    with TemporaryDirectory() as place:
        folder = Path(place) / "copy"
        shutil.copytree(source, folder)
        expected, _ = read_report(folder)
        for name in names:
            data.draw(st.sampled_from(DAMAGES))(folder / name, random.Random(data.draw(st.integers(0, 9999))))
        try:
            record, lines = read_report(folder)
        except UserError as error:
            record, lines = None, [str(error)]
    assert all("\n" not in line for line in lines)
    named = any(Path(name).name in line for line in lines for name in names)
    assert named or record == expected or (record is None and "recipe.yaml" in names and "holds no run" in lines[0])


@pytest.mark.parametrize("state", ["finished", "stopped"])
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_a_report_of_a_damaged_folder_is_the_same_or_names_the_file(
    finished: Path, state: str, data: st.DataObject
) -> None:
    check_report(finished.with_name(state), data)


@pytest.mark.faults
@pytest.mark.parametrize("state", ["finished", "stopped"])
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_reports_of_hundreds_of_damaged_folders(finished: Path, state: str, data: st.DataObject) -> None:
    check_report(finished.with_name(state), data)


@pytest.mark.parametrize("command", ["report", "pick", "compare"])
@pytest.mark.parametrize("damage", [remove, empty])
@pytest.mark.parametrize("name", ["record.json", "summary.json", "study.journal", "trials.csv", "best/bundle/STAGE"])
def test_no_command_shows_a_finished_run_whose_results_are_not_whole(
    command: str, damage: Damage, name: str, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished, tmp_path / "copy")
    path = tmp_path / "copy" / name
    if path.name == "STAGE":
        path = next(path.parent.rglob("*.tflite"))
    damage(path, random.Random(0))
    words = [str(finished)] if command == "compare" else ["trust=true"]
    assert app.main([command, str(tmp_path / "copy"), *words]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if path.name in line]
    assert len(lines) == 1 and "gatesearch run resume=" in lines[0]


def test_no_command_listens_with_a_changed_manifest(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished, tmp_path / "copy")
    swap(tmp_path / "copy" / "best" / "bundle" / "manifest.json", random.Random(0))
    assert app.main(["listen", str(tmp_path / "copy"), "none.wav"]) == 2
    assert "manifest.json: is damaged: its sha256 is " in capsys.readouterr().err


def test_some_damaged_files_end_in_an_error_or_the_same_result(finished: Path, tmp_path: Path) -> None:
    cases = random.Random(7).sample(list_cases(finished), SHORT)
    for number, (name, damage) in enumerate(cases):
        check(finished, tmp_path / str(number), name, damage, number)


@pytest.mark.slow
def test_every_damaged_file_ends_in_an_error_or_the_same_result(finished: Path, tmp_path: Path) -> None:
    failures = []
    for number, (name, damage) in enumerate(list_cases(finished)):
        folder = tmp_path / str(number)
        try:
            print(f"{damage.__name__} {name}: {check(finished, folder, name, damage, number)}")
        except Exception as error:
            failures.append(f"{damage.__name__} {name}: {type(error).__name__}: {error}"[:500])
            print("FAILED", failures[-1])
        shutil.rmtree(folder, ignore_errors=True)
    assert not failures, "\n".join(failures)


def test_a_report_of_a_damaged_record_says_what_writes_it_again(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    flip(folder / "record.json", random.Random(1))
    with pytest.raises(UserError, match=r"record.json: is damaged: .*; write it again: gatesearch run resume="):
        pipeline.report(folder)
