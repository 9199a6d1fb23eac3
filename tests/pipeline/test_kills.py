"""Whole runs whose driver or worker is killed at random moments resume with the same result.

A hundred kills take minutes: pytest -m faults tests/pipeline/test_kills.py -s
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gatesearch._lib import interrupts
from gatesearch.search import engine
from tests.pipeline import small_run

pytestmark = pytest.mark.usefixtures("place")

TIMEOUT_S = 900
MAX_KILLS_A_RUN = 12
OTHER_FILE_SYSTEM = Path("/dev/shm")
INTERRUPTED = 130
# The short form also runs where machines are slow; the kinds of kills take turns.
DRIVER_SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
WORKER_SIGNALS = (signal.SIGKILL, signal.SIGTERM)
CHANGING = ("seconds", "streaming", "warnings")
KEPT = ("baseline.ckpt", "logs/ungated.ckpt", "table.json", "recipe.yaml", "logs/origin.json")
WITH_WORKER = {"search": small_run.SETTINGS["search"] | {"executor": {"name": "local", "workers": 1}}}


def fork_session(folder: Path, settings: dict[str, Any]) -> int:
    """Begin a run, or go on with it, as the command line does, in a process of its own; returns its id."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        log = os.open(folder.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        os.environ["TMPDIR"], tempfile.tempdir = str(OTHER_FILE_SYSTEM), None
        with interrupts.as_exceptions():
            if (folder / "recipe.yaml").exists():
                small_run.resume(folder)
            else:
                small_run.run(folder, **settings)
        status = 0
    except KeyboardInterrupt:
        status = INTERRUPTED
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def wait_for_end(pid: int, timeout_s: float) -> int | None:
    """Return the exit status of a process, negative for a signal; None where it goes on after so many seconds."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None


def find_workers(pid: int) -> list[int]:
    """Return the worker processes of a driver; it has helpers, too."""
    workers = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            if b"spawn_main" in Path(f"/proc/{word}/cmdline").read_bytes():
                workers.append(int(word))
    return workers


def figures(folder: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    summary["search"].pop("seconds")
    return {key: value for key, value in summary.items() if key not in CHANGING}


def outcome(folder: Path) -> dict[str, Any]:
    """Return all of a finished run that a kill must not change."""
    with (folder / "trials.csv").open(newline="") as file:
        trials = list(csv.DictReader(file))
    return {
        "figures": figures(folder),
        "trials": [{key: value for key, value in row.items() if "path_us" not in key} for row in trials],
        "weights": {name: (folder / name).read_bytes() for name in ("baseline.ckpt", "best/model.ckpt")},
    }


class Watcher:
    """Checks after each session that what was there is there, whole and unchanged."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.files = folder, dict[str, bytes]()
        self.trials: list[tuple[int, str]] = []

    def check(self) -> None:
        for name, content in self.files.items():
            assert (self.folder / name).read_bytes() == content, f"{name} changed"
        self.files = {name: (self.folder / name).read_bytes() for name in KEPT if (self.folder / name).exists()}
        for path in self.folder.rglob("*.json"):
            json.loads(path.read_text())
        journal = self.folder / "study.journal"
        if journal.exists():
            now = [(trial.number, trial.plan.digest) for trial in engine.read(journal).trials]
            assert now[: len(self.trials)] == self.trials, "a trial was lost"
            self.trials = now


def run_whole(folder: Path, settings: dict[str, Any]) -> float:
    """Run without a kill; return the seconds that it took."""
    started = time.monotonic()
    assert wait_for_end(fork_session(folder, settings), TIMEOUT_S) == 0, folder.with_suffix(".log").read_text()
    return time.monotonic() - started


def kill_drivers(folder: Path, whole_s: float, dice: random.Random, signals: Iterator[int]) -> Counter[str]:
    """Run to the end with kills of the driver; return how many of each kind."""
    kills, watcher, sent = Counter[str](), Watcher(folder), 0
    while True:
        pid = fork_session(folder, {})
        number = next(signals, None) if sent < MAX_KILLS_A_RUN else None
        # Half of a whole run's time, because a session goes on where the one before it stopped.
        status = wait_for_end(pid, TIMEOUT_S if number is None else dice.uniform(0.0, whole_s / 2))
        if status is None and number is not None:
            os.kill(pid, number)
            status = wait_for_end(pid, TIMEOUT_S)
            # An interrupt ends the session in good order, or by the signal itself before the run begins.
            assert status in {-number, INTERRUPTED}, f"{signal.Signals(number).name}: {status}"
            kills[f"driver {signal.Signals(number).name}"] += 1
            sent += 1
            watcher.check()
            continue
        assert status == 0, folder.with_suffix(".log").read_text()
        return kills


def kill_workers(folder: Path, whole_s: float, dice: random.Random, signals: Iterator[int]) -> Counter[str]:
    """Run to the end with kills of the worker process; return how many of each kind."""
    kills, watcher = Counter[str](), Watcher(folder)
    pid, status = fork_session(folder, WITH_WORKER), None
    until = time.monotonic() + TIMEOUT_S
    while status is None and time.monotonic() < until:
        status = wait_for_end(pid, 0.05)
        workers = find_workers(pid) if status is None and sum(kills.values()) < 3 else []
        if workers and (number := next(signals, None)) is not None:
            status = wait_for_end(pid, dice.uniform(0.0, whole_s / 4))
            for worker in find_workers(pid) if status is None else ():
                os.kill(worker, number)
                kills[f"worker {signal.Signals(number).name}"] += 1
                time.sleep(0.05)
    assert status == 0, folder.with_suffix(".log").read_text()
    watcher.check()
    return kills


Killer = Callable[[Path, float, random.Random, Iterator[int]], Counter[str]]


def check_kills(count: int, killer: Killer, kinds: tuple[int, ...], place: Path, tmp_path: Path) -> Counter[str]:
    """Kill whole runs until there were as many kills; each run ends as the one that nothing disturbed."""
    # Before the forks, which then begin at once.
    import litert_torch  # noqa: F401

    import gatesearch.pipeline.run  # noqa: F401

    settings = WITH_WORKER if killer is kill_workers else {}
    whole, again = place / f"whole-{killer.__name__}", place / f"again-{killer.__name__}"
    run_whole(whole, settings)  # compiles kernels and converts blocks, which the cache then holds
    whole_s = run_whole(again, settings)
    assert outcome(again) == outcome(whole)
    dice, kills, number = random.Random(count), Counter[str](), 0
    signals = iter([kinds[k % len(kinds)] for k in range(count)])
    while sum(kills.values()) < count and number < 10 * count:
        folder = tmp_path / f"broken-{number}"
        kills += killer(folder, whole_s, dice, signals)
        assert outcome(folder) == outcome(whole)
        assert "Traceback" not in folder.with_suffix(".log").read_text()
        number += 1
        print(f"{dict(kills)} over {number} whole runs", flush=True)
    return kills


@pytest.mark.slow
@pytest.mark.parametrize(("killer", "kinds"), [(kill_drivers, DRIVER_SIGNALS), (kill_workers, WORKER_SIGNALS)])
def test_a_few_kills(killer: Killer, kinds: tuple[int, ...], place: Path, tmp_path: Path) -> None:
    assert sum(check_kills(len(kinds), killer, kinds, place, tmp_path).values()) >= len(kinds)


@pytest.mark.faults
@pytest.mark.parametrize(
    ("count", "killer", "kinds"), [(80, kill_drivers, DRIVER_SIGNALS), (20, kill_workers, WORKER_SIGNALS)]
)
def test_a_hundred_kills(count: int, killer: Killer, kinds: tuple[int, ...], place: Path, tmp_path: Path) -> None:
    assert sum(check_kills(count, killer, kinds, place, tmp_path).values()) >= count
