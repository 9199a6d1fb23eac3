"""Tests that runs give the same result after their driver or a worker is killed at random moments.

The command ``pytest -m faults tests/pipeline/test_kills.py -s`` kills a hundred times and takes half an hour. The kills
are divided into parts. ``-k "driver-3 or driver-4"`` runs two parts, so an interrupted test can continue with the
remaining parts.
"""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gatesearch._lib import interrupts
from gatesearch.search import engine
from tests.pipeline import small_run
from tests.processes import INTERRUPTED, find_workers, fork, wait_for_end

pytestmark = pytest.mark.usefixtures("place")

TIMEOUT_S = 900
MAX_KILLS_A_RUN = 12
MAX_WORKER_KILLS_A_RUN = 3  # a plan that kills more workers fails, as it should
MAX_RUNS_A_KILL = 4  # more than 1, because a run may end before it is killed
OTHER_FILE_SYSTEM = Path("/dev/shm")
# Signals of successive kills, in turn.
DRIVER_SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
WORKER_SIGNALS = (signal.SIGKILL, signal.SIGTERM)
CHANGING = ("seconds", "streaming", "warnings")
UNCHANGED_FILES = ("baseline.ckpt", "logs/ungated.ckpt", "table.json", "recipe.yaml", "logs/origin.json")
# A search tries all three plans of this space. So it tries the same plans with one worker and with two, in any order.
EVERY_PLAN = {
    "space": small_run.SETTINGS["space"] | {"cores": ["mcu", "app"]},
    "search": small_run.SETTINGS["search"] | {"trials": 3},
}
# One worker would be the driver itself.
WITH_WORKERS = {"search": EVERY_PLAN["search"] | {"executor": {"name": "local", "workers": 2}}}
DRIVER_PARTS, KILLS_A_DRIVER_PART = 8, 10
WORKER_PARTS, KILLS_A_WORKER_PART = 5, 4


class Whole(NamedTuple):
    """The outcome of a run without kills, and the seconds that it took."""

    outcome: dict[str, Any]
    seconds: float


def fork_session(folder: Path, settings: dict[str, Any]) -> int:
    """Start or resume a run in a forked process (a *session*), as the command line does; return the process's id."""

    def work() -> None:
        os.environ["TMPDIR"], tempfile.tempdir = str(OTHER_FILE_SYSTEM), None
        with interrupts.as_exceptions():
            if (folder / "recipe.yaml").exists():
                small_run.resume(folder, **EVERY_PLAN)
            else:
                small_run.run(folder, **(EVERY_PLAN | settings))
        ended_file(folder).touch()

    return fork(work, folder.with_suffix(".log"))


def ended_file(folder: Path) -> Path:
    """Return the file that a session writes when its run has ended, shortly before the session's process ends.

    The system needs some time to free the memory of the process. A signal during this time interrupts no run.
    """
    return folder.with_suffix(".ended")


def figures(folder: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    summary["search"].pop("seconds")
    return {key: value for key, value in summary.items() if key not in CHANGING}


def is_compared(column: str) -> bool:
    """Say whether a column of trials.csv has to be the same after a kill.

    Measured times differ. The trials have other numbers, because workers end in any order.
    """
    return column != "number" and "path_us" not in column


def outcome(folder: Path) -> dict[str, Any]:
    """Return the results of a finished run that a kill must not change."""
    with (folder / "trials.csv").open(newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["digest"])  # workers end in any order
    return {
        "figures": figures(folder),
        "trials": [{key: value for key, value in row.items() if is_compared(key)} for row in rows],
        "weights": {name: (folder / name).read_bytes() for name in ("baseline.ckpt", "best/model.ckpt")},
    }


class Watcher:
    """Checks after each session that the files and trials of earlier sessions are unchanged."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.files = folder, dict[str, bytes]()
        self.trials: list[tuple[int, str]] = []

    def check(self) -> None:
        for name, content in self.files.items():
            assert (self.folder / name).read_bytes() == content, f"{name} changed"
        self.files = {
            name: (self.folder / name).read_bytes() for name in UNCHANGED_FILES if (self.folder / name).exists()
        }
        for path in self.folder.rglob("*.json"):
            json.loads(path.read_text())
        journal = self.folder / "study.journal"
        if journal.exists():
            now = [(trial.number, trial.plan.digest) for trial in engine.read(journal).trials]
            assert now[: len(self.trials)] == self.trials, "a trial was lost"
            self.trials = now


@pytest.fixture(scope="module")
def whole(place: Path) -> Whole:
    # Modules that are imported before the forks need not be imported again in each session.
    import litert_torch  # noqa: F401

    import gatesearch.pipeline.run  # noqa: F401

    # The first run compiles kernels and prices blocks; the cache holds both for all other runs.
    folder, started = place / "whole", time.monotonic()
    assert wait_for_end(fork_session(folder, {}), TIMEOUT_S) == 0, folder.with_suffix(".log").read_text()
    return Whole(outcome(folder), time.monotonic() - started)


def kill_drivers(folder: Path, whole_s: float, dice: random.Random, signals: Iterator[int], limit: int) -> Counter[str]:
    """Run to the end with at most ``limit`` kills of the driver; return the number of kills of each kind."""
    kills, watcher = Counter[str](), Watcher(folder)
    while True:
        pid = fork_session(folder, {})
        is_killed = sum(kills.values()) < min(limit, MAX_KILLS_A_RUN)
        # A kill comes within a quarter of a whole run's time, because each session continues where the one before it
        # stopped.
        status = wait_for_end(pid, dice.uniform(0.0, whole_s / 4) if is_killed else TIMEOUT_S)
        if status is None and ended_file(folder).exists():
            status = wait_for_end(pid, TIMEOUT_S)
        if status is None and is_killed:
            number = next(signals)
            os.kill(pid, number)
            status = wait_for_end(pid, TIMEOUT_S)
            # During the run, an interrupt ends the session with the status INTERRUPTED. Before the run begins, the
            # signal itself ends the process.
            assert status in {-number, INTERRUPTED}, f"{signal.Signals(number).name}: {status}"
            kills[f"driver {signal.Signals(number).name}"] += 1
            watcher.check()
            continue
        assert status == 0, folder.with_suffix(".log").read_text()
        return kills


def kill_workers(folder: Path, whole_s: float, dice: random.Random, signals: Iterator[int], limit: int) -> Counter[str]:
    """Run to the end with at most ``limit`` kills of workers; return the number of kills of each kind."""
    kills, watcher = Counter[str](), Watcher(folder)
    pid, status = fork_session(folder, WITH_WORKERS), None
    until = time.monotonic() + TIMEOUT_S
    while status is None and time.monotonic() < until:
        status = wait_for_end(pid, 0.05)
        is_killed = sum(kills.values()) < min(limit, MAX_WORKER_KILLS_A_RUN)
        if status is None and is_killed and find_workers(pid):
            status = wait_for_end(pid, dice.uniform(0.0, whole_s / 8))
            if status is None and (workers := find_workers(pid)):
                number = next(signals)
                with contextlib.suppress(ProcessLookupError):  # the driver has ended this worker
                    os.kill(dice.choice(workers), number)
                    kills[f"worker {signal.Signals(number).name}"] += 1
    assert status == 0, folder.with_suffix(".log").read_text()
    watcher.check()
    return kills


Killer = Callable[[Path, float, random.Random, Iterator[int], int], Counter[str]]


def check_kills(
    count: int, killer: Killer, kinds: tuple[int, ...], whole: Whole, tmp_path: Path, seed: int = 0
) -> None:
    """Kill processes of whole runs ``count`` times; check that each run ends like the run without kills."""
    dice, kills, signals = random.Random(seed), Counter[str](), itertools.cycle(kinds)
    for number in range(MAX_RUNS_A_KILL * count):
        folder = tmp_path / f"broken-{number}"
        kills += killer(folder, whole.seconds, dice, signals, count - sum(kills.values()))
        assert outcome(folder) == whole.outcome
        assert "Traceback" not in folder.with_suffix(".log").read_text()
        print(f"{dict(kills)} over {number + 1} whole runs", flush=True)
        if sum(kills.values()) >= count:
            return
    pytest.fail(f"{dict(kills)}, not {count}: the runs end before they are killed")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("killer", "kinds"),
    [
        pytest.param(kill_drivers, DRIVER_SIGNALS, id="driver"),
        pytest.param(kill_workers, WORKER_SIGNALS, id="worker"),
    ],
)
def test_a_few_kills_change_no_result(killer: Killer, kinds: tuple[int, ...], whole: Whole, tmp_path: Path) -> None:
    check_kills(len(kinds), killer, kinds, whole, tmp_path)


@pytest.mark.faults
@pytest.mark.parametrize("part", [pytest.param(part, id=f"driver-{part}") for part in range(DRIVER_PARTS)])
def test_kills_of_drivers_change_no_result(part: int, whole: Whole, tmp_path: Path) -> None:
    check_kills(KILLS_A_DRIVER_PART, kill_drivers, DRIVER_SIGNALS, whole, tmp_path, seed=1 + part)


@pytest.mark.faults
@pytest.mark.parametrize("part", [pytest.param(part, id=f"worker-{part}") for part in range(WORKER_PARTS)])
def test_kills_of_workers_change_no_result(part: int, whole: Whole, tmp_path: Path) -> None:
    check_kills(KILLS_A_WORKER_PART, kill_workers, WORKER_SIGNALS, whole, tmp_path, seed=1 + part)
