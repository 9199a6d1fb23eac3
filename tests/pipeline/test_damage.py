"""Tests of run folders with a damaged file: the resumed run gives the same result, or one line names the file."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gatesearch.errors import UserError
from gatesearch.pipeline import run as pipeline
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


DAMAGES = (cut, zero, flip, empty, remove, put_folder, swap)


@pytest.fixture(scope="module")
def finished(place: Path) -> Path:
    small_run.run(place / "finished")
    return place / "finished"


def read_files(folder: Path) -> list[str]:
    names = (str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_file())
    return [name for name in names if not any(word in name for word in UNREAD)]


def figures(folder: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    summary["search"].pop("seconds")
    return {key: value for key, value in summary.items() if key not in CHANGING}


def check(finished: Path, folder: Path, name: str, damage: Callable[[Path, random.Random], None], seed: int) -> str:
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


def list_cases(finished: Path) -> list[tuple[str, Callable[[Path, random.Random], None]]]:
    return [(name, damage) for name in read_files(finished) for damage in DAMAGES]


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
