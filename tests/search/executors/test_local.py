"""Tests of searches in worker processes. A kill of the driver or of a worker loses no trial and changes no result.

The driver is the process that runs the search and starts the workers.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gatesearch._lib import console
from gatesearch.errors import UserError
from gatesearch.plan import GatePlan
from gatesearch.search import Evaluated, SearchResult, SearchSettings, Trial, engine
from gatesearch.search.executors import local
from gatesearch.search.executors.local import LocalWorkers
from tests.processes import find_workers, fork, wait_for_end
from tests.search.quick import Doubtful, Quick, note, price, try_plan
from tests.search.small_spaces import small

TRIALS = 60
SHORT, FULL = 4, 100  # numbers of kills


def run_search(folder: Path, seed: int, in_worker: bool = False) -> SearchResult:
    """Start or resume a search; the file ``reports`` gets a line for each trial that the search reports."""

    def tell(trial: Trial) -> None:
        note(folder / "reports", f"{trial.number} {trial.plan.digest}")

    evaluate = Quick(folder / "ended", 0.02 if in_worker else 0.003)
    local.MAX_FAILURES = 10**6  # kills may hit the same plan many times, and the plan must not fail because of them
    settings = SearchSettings(journal=folder / "study.journal", trials=TRIALS, proposals=400, seed=seed, on_trial=tell)
    executor = LocalWorkers(evaluate, workers=1) if in_worker else None
    return engine.search(small(), price, evaluate, settings, executor)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def unbroken(folder: Path, seed: int) -> SearchResult:
    folder.mkdir()
    pid = fork(lambda: run_search(folder, seed))
    assert wait_for_end(pid, 120) == 0
    return engine.read(folder / "study.journal")


def kill_drivers(kills: int, tmp_path: Path) -> None:
    dice, done, seed = random.Random(kills), 0, 1
    while done < kills:
        whole, folder = unbroken(tmp_path / f"whole-{seed}", seed), tmp_path / f"broken-{seed}"
        folder.mkdir()
        here, earlier, status = 0, SearchResult(()), None
        while status is None:
            pid = fork(lambda folder=folder, seed=seed: run_search(folder, seed))  # type: ignore[misc]
            status = wait_for_end(pid, dice.uniform(0.0, 0.6))
            if status is None and done < kills:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                here, done = here + 1, done + 1
            elif status is None:
                status = wait_for_end(pid, 120)
                assert status is not None
            journal = folder / "study.journal"
            now = engine.read(journal) if journal.exists() else earlier
            # The journal holds all earlier trials and all reported trials. They equal those of the unbroken search.
            assert now.trials[: len(earlier.trials)] == earlier.trials == whole.trials[: len(earlier.trials)]
            assert set(lines(folder / "reports")) <= {f"{trial.number} {trial.plan.digest}" for trial in now.trials}
            earlier = now
        assert status == 0 and earlier == whole and earlier.front == whole.front
        assert len(lines(folder / "ended")) <= len(lines(tmp_path / f"whole-{seed}" / "ended")) + here
        seed += 1


def kill_workers(kills: int, tmp_path: Path) -> None:
    dice, done, seed = random.Random(kills), 0, 1
    while done < kills:
        whole, folder = unbroken(tmp_path / f"whole-{seed}", seed), tmp_path / f"broken-{seed}"
        folder.mkdir()
        pid = fork(lambda folder=folder, seed=seed: run_search(folder, seed, in_worker=True))  # type: ignore[misc]
        here, status = 0, None
        tried = lines(folder / "ended")
        while status is None:
            # A new worker takes seconds to start, so it has the time to try at least one plan.
            until = time.monotonic() + 60
            while status is None and len(lines(folder / "ended")) == len(tried) and time.monotonic() < until:
                status = wait_for_end(pid, 0.01)
            if status is None:
                status = wait_for_end(pid, dice.uniform(0.0, 0.3))
            tried = lines(folder / "ended")
            for worker in find_workers(pid) if status is None and done < kills else ():
                os.kill(worker, signal.SIGKILL)
                here, done = here + 1, done + 1
        earlier = engine.read(folder / "study.journal")
        assert status == 0 and earlier == whole and earlier.front == whole.front
        assert len(lines(folder / "ended")) <= len(lines(tmp_path / f"whole-{seed}" / "ended")) + here
        seed += 1


@pytest.mark.slow
@pytest.mark.parametrize("kill", [kill_drivers, kill_workers])
def test_a_few_kills_lose_no_trial(kill: Callable[[int, Path], None], tmp_path: Path) -> None:
    kill(SHORT, tmp_path)


@pytest.mark.faults
@pytest.mark.parametrize("kill", [kill_drivers, kill_workers])
def test_a_hundred_kills_lose_no_trial(kill: Callable[[int, Path], None], tmp_path: Path) -> None:
    kill(FULL, tmp_path)


@pytest.mark.slow
def test_plans_that_kill_their_workers_end_the_search_and_lose_nothing(tmp_path: Path) -> None:
    local.MAX_FAILURES = 1
    with pytest.raises(UserError, match=r"^search: 5 of 5 plans failed: 2 workers died while they tried it, .*-9$"):
        settings = SearchSettings(journal=tmp_path / "study.journal", trials=3, proposals=20, seed=0)
        engine.search(small(), price, Quick(tmp_path / "ended"), settings, LocalWorkers(_deadly, workers=1))
    assert engine.read(tmp_path / "study.journal").complete == ()
    assert wait_for_end(fork(lambda: run_search(tmp_path, 0)), 120) == 0
    assert len(engine.read(tmp_path / "study.journal").complete) == TRIALS


class Heavy:
    """An evaluation whose pickle is larger than the buffer of a pipe, like the features and weights of a run."""

    def __init__(self) -> None:
        self.content = bytes(2**22)

    def __call__(self, plan: GatePlan) -> Evaluated:
        assert len(self.content) == 2**22
        return try_plan(plan)


@pytest.mark.parametrize("after_s", [0.0, 0.2])
def test_a_worker_that_dies_while_it_starts_is_replaced(after_s: float, tmp_path: Path) -> None:
    settings = SearchSettings(journal=tmp_path / "study.journal", trials=2, proposals=40, seed=0)
    executor = LocalWorkers(Heavy(), workers=1)
    pid = fork(lambda: engine.search(small(), price, Heavy(), settings, executor))
    status = None
    while status is None and not (started := find_workers(pid)):
        status = wait_for_end(pid, 0.005)
    assert status is None
    time.sleep(after_s)
    os.kill(started[0], signal.SIGKILL)
    status = wait_for_end(pid, 120)
    if status is None:
        os.kill(pid, signal.SIGKILL)
    assert status == 0 and len(engine.read(tmp_path / "study.journal").complete) == 2


def test_warnings_of_a_worker_are_printed_and_stored_by_the_driver(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = SearchSettings(journal=tmp_path / "study.journal", trials=3, proposals=40, seed=0)
    with console.collect_warnings() as stored:
        result = engine.search(small(), price, Doubtful(), settings, LocalWorkers(Doubtful(), workers=1))
    tried = [trial.plan.digest for trial in result.trials if trial.state in ("complete", "failed")]
    assert [trial.state for trial in result.trials].count("failed") == 1
    assert {"tables are cold", *(f"plan {digest} is doubtful" for digest in tried)} <= set(stored)
    printed = [line.removeprefix("warning: ") for line in capfd.readouterr().err.splitlines() if "warning: " in line]
    assert sorted(printed) == sorted(stored)  # the worker itself prints none


def _deadly(plan: GatePlan) -> Evaluated:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")
