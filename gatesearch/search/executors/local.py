"""Plans tried in processes of this machine, as many at a time as there are workers.

A worker that dies, of whatever, is replaced and its plan tried again. Workers end with their driver, however it ends.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from gatesearch.search.evaluation import Evaluated
from gatesearch.search.executors.base import Asked, Asking, Evaluate, TrialFailed

FAILURES = 3  # workers that may die of one plan; at the next the search gives up
LOOK_EVERY_S = 0.5  # at whether the driver is alive
_processes = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork


class Local:
    """Worker processes, there while a search is driven.

    Args:
        evaluate: tries a plan; pickled once for each worker.
        workers: how many, started as they are needed.
        threads: of torch in each worker; None as torch likes.
    """

    def __init__(self, evaluate: Evaluate, workers: int, threads: int | None = None) -> None:
        self.workers = workers
        self._work, self._threads = pickle.dumps(evaluate), threads
        self._idle: list[_Worker] = []
        self._busy: dict[Connection, tuple[_Worker, Asked, int]] = {}

    def drive(self, session: Asking) -> None:
        """Keep every worker busy until the search wants nothing more.

        Raises:
            TrialFailed: workers die of a plan.
        """
        try:
            while True:
                while len(self._busy) < self.workers and (asked := session.ask()) is not None:
                    self._hand(asked, 0)
                if not self._busy:
                    return
                for number, found in self._ended():
                    session.tell(number, found)
        finally:
            for worker in [*self._idle, *(busy for busy, *_ in self._busy.values())]:
                worker.end()
            self._idle, self._busy = [], {}

    def _ended(self) -> Iterator[tuple[int, Evaluated]]:
        for end in wait(list(self._busy)):
            assert isinstance(end, Connection)
            worker, asked, failures = self._busy.pop(end)
            try:
                found = end.recv()
            except (EOFError, ConnectionError):
                worker.end()
                if failures >= FAILURES:
                    raise TrialFailed(
                        f"plan {asked.plan.digest}: {failures + 1} workers died of it, the last with exit status "
                        f"{worker.process.exitcode}"
                    ) from None
                self._hand(asked, failures + 1)
                continue
            self._idle.append(worker)
            if isinstance(found, BaseException):
                raise found
            yield asked.number, found

    def _hand(self, asked: Asked, failures: int) -> None:
        while self._idle:
            worker = self._idle.pop()
            if worker.takes(asked):
                break
            worker.end()
        else:
            worker = _Worker.started(self._work, self._threads)
            worker.takes(asked)  # one that died already is found dead by wait()
        self._busy[worker.end_here] = (worker, asked, failures)


@dataclass(frozen=True)
class _Worker:
    process: Any
    end_here: Connection

    @classmethod
    def started(cls, work: bytes, threads: int | None) -> _Worker:
        here, there = _processes.Pipe()
        process = _processes.Process(target=_serve, args=(there, work, threads, os.getpid()), daemon=True)
        process.start()
        there.close()  # so that its death is seen here
        return cls(process, here)

    def takes(self, asked: Asked) -> bool:
        try:
            self.end_here.send(asked)
        except OSError:
            return False
        return True

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.end_here.close()


def _serve(end: Connection, work: bytes, threads: int | None, driver: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's affair
    threading.Thread(target=_end_with, args=(driver,), daemon=True).start()
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    evaluate: Evaluate = pickle.loads(work)
    while True:
        try:
            asked: Asked = end.recv()
        except EOFError:
            return
        found: Evaluated | BaseException
        try:
            found = asked.by(evaluate)
        except Exception as error:
            error.add_note(f"in a worker process, plan {asked.plan.digest}:\n{traceback.format_exc()}")
            found = error
        end.send(found)


def _end_with(driver: int) -> None:
    while os.getppid() == driver:
        time.sleep(LOOK_EVERY_S)
    os._exit(1)
