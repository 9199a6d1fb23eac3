"""Tests that damaged inputs end in success or an error of one line: no traceback, no hang, no stray files.

A door is an entry for inputs, such as recipes or bundles. ``pytest -m faults tests/doors -s`` tries all 3,500 damaged
inputs and every hostile input that is written by hand. To try one damaged input again, set ``GATESEARCH_DOORS_CASE`` to
the number that the failure names, and choose its door: ``pytest -m faults tests/doors -k bundles``.
"""

from __future__ import annotations

import os
import shutil
import signal
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gatesearch.errors import MAX_MESSAGE_CHARACTERS, UserError
from tests.doors.doors import DOORS, Door, Seeds
from tests.doors.hostile import HOSTILE, Hostile

TIMEOUT_S = 20
SHORT_FORM = 8  # number of inputs that the default suite tries at each door
SEED = 14


class Hang(BaseException):
    """An input takes longer than the limit; no ``except Exception`` catches this error."""


@contextmanager
def time_limit() -> Iterator[None]:
    def end(*_: Any) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(TIMEOUT_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class Started(Exception):
    """The input passed all checks of ``gatesearch.run``, so a run would start."""


def start(*_: Any, **__: Any) -> None:
    raise Started


def list_files(folder: Path, *spared: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if not any(path.is_relative_to(each) for each in spared)}


def try_one(enter: Callable[[Path], object], sandbox: Path) -> str:
    """Pass one input to a door; return "refused", "accepted" or a description of the fault.

    Args:
        enter: function that makes the input in an empty working folder and passes it to the door.
        sandbox: folder that contains the working folder; the input must not write to other places in it.
    """
    work = sandbox / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    os.chdir(work)
    before = list_files(sandbox, work)
    try:
        with time_limit():
            enter(work)
        outcome = "accepted"
    except Started:
        outcome = "accepted"
    except UserError as error:
        line = str(error)
        outcome = "refused"
        if len(line.splitlines()) != 1 or not line.isprintable() or len(line) > MAX_MESSAGE_CHARACTERS:
            outcome = f"not one line: {line!r}"
    except Hang:
        outcome = f"more than {TIMEOUT_S} s"
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        places = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames[-4:]))
        outcome = f"traceback: {type(error).__name__}: {str(error)[:200]!r} at {places}"
    written = list_files(sandbox, work) - before
    return outcome if not written else f"wrote {sorted(written)[:3]}"


def try_many(door: str, inputs: Mapping[str, Callable[[Path], object]], sandbox: Path) -> None:
    """Pass named inputs to a door; fail with the names of the inputs that cause a fault."""
    counts: Counter[str] = Counter()
    faults = []
    for name, enter in inputs.items():
        outcome = try_one(enter, sandbox)
        counts[outcome if outcome in ("refused", "accepted") else "fault"] += 1
        if outcome not in ("refused", "accepted"):
            faults.append(f"{door} {name}: {outcome}")
    print(f"\n{door}: {len(inputs)} inputs, {counts['refused']} refused, {counts['accepted']} accepted")
    assert not faults, "\n".join([f"{len(faults)} of {len(inputs)}", *faults])


def draw(door: str, cases: range, seeds: Seeds) -> dict[str, Callable[[Path], object]]:
    """Return damaged inputs of a door by their numbers."""
    enter = DOORS[door][0]
    return {str(case): partial(_enter_case, enter, seeds, f"{SEED} {door} {case}") for case in cases}


def _enter_case(enter: Door, seeds: Seeds, seed: str, folder: Path) -> str:
    return enter(seeds, Random(seed), folder)


def bind(hostile: Mapping[str, Hostile], seeds: Seeds) -> dict[str, Callable[[Path], object]]:
    """Return the hostile inputs by their names, each a function of its working folder alone."""
    return {name: partial(enter, seeds) for name, enter in hostile.items()}


@pytest.fixture(autouse=True)
def sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("gatesearch.pipeline.run.start", start)
    monkeypatch.setattr("gatesearch.pipeline.run.resume", start)
    return tmp_path


@pytest.mark.parametrize("door", DOORS)
def test_no_door_crashes_on_a_few_damaged_inputs(door: str, seeds: Seeds, sandbox: Path) -> None:
    try_many(door, draw(door, range(SHORT_FORM), seeds), sandbox)


@pytest.mark.parametrize("door", HOSTILE)
def test_no_door_crashes_on_a_few_hostile_inputs(door: str, seeds: Seeds, sandbox: Path) -> None:
    names = Random(f"{SEED} {door}").sample(sorted(HOSTILE[door]), SHORT_FORM)
    try_many(door, bind({name: HOSTILE[door][name] for name in names}, seeds), sandbox)


@pytest.mark.faults
@pytest.mark.parametrize("door", HOSTILE)
def test_no_door_crashes_on_any_hostile_input(door: str, seeds: Seeds, sandbox: Path) -> None:
    try_many(door, bind(HOSTILE[door], seeds), sandbox)


@pytest.mark.faults
@pytest.mark.parametrize("door", DOORS)
def test_no_door_crashes_on_many_damaged_inputs(door: str, seeds: Seeds, sandbox: Path) -> None:
    case = os.environ.get("GATESEARCH_DOORS_CASE")
    cases = range(int(case), int(case) + 1) if case else range(DOORS[door][1])
    try_many(door, draw(door, cases, seeds), sandbox)
