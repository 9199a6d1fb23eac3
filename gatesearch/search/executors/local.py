"""The executor that tries plans in worker processes of this machine.

A worker that dies is replaced, and its plan is tried again. A plan fails if several workers die while they try it.
Workers end when the driver (the process that started them) ends, even when the driver is killed.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from gatesearch._lib import console
from gatesearch._lib.cores import available_cores
from gatesearch.errors import UserError
from gatesearch.search.evaluation import Evaluated
from gatesearch.search.executors.base import Evaluate, Failure, Proposal, ProposalSource, describe_error, try_plan

MAX_FAILURES = 3  # workers that may die while they try one plan; at the next death the plan fails
DRIVER_CHECK_S = 0.5  # interval at which a worker checks that its driver is alive
_processes = multiprocessing.get_context("spawn")  # not "fork", because torch's threads do not survive a fork


class LocalWorkers:
    """Tries plans in worker processes, which live as long as the search runs.

    Args:
        evaluate: the function that tries a plan; it is sent to each worker once.
        workers: number of worker processes; each starts when it is first needed.
        threads: PyTorch threads in each worker; None: an equal share of the cores that this process may use.
    """

    def __init__(self, evaluate: Evaluate, workers: int, threads: int | None = None) -> None:
        self.workers = workers
        cores = available_cores()
        self._pickled_evaluate, self._threads = pickle.dumps(evaluate), threads or max(1, cores // workers)
        if workers * self._threads > cores:
            console.warn(
                f"search.executor: {workers} workers with {self._threads} threads each on {cores} cores: they wait for "
                "each other, and a trial takes many times as long"
            )
        self._idle: list[_Worker] = []
        self._busy: dict[Connection, tuple[_Worker, Proposal, int]] = {}

    def run(self, session: ProposalSource) -> None:
        """Keep every worker busy until the search proposes no more plans.

        Raises:
            UserError: workers cannot start.
            OSError: an error of the machine, such as a full disk.
        """
        try:
            while True:
                while len(self._busy) < self.workers and (proposal := session.ask()) is not None:
                    self._assign(proposal, failures=0)
                if not self._busy:
                    return
                for number, outcome in self._collect():
                    session.tell(number, outcome)
        finally:
            for worker in [*self._idle, *(busy for busy, *_ in self._busy.values())]:
                worker.end()
            self._idle, self._busy = [], {}

    def _collect(self) -> Iterator[tuple[int, Evaluated | Failure]]:
        """Wait until a worker has an outcome or dies; yield the outcomes."""
        for connection in wait(list(self._busy)):
            assert isinstance(connection, Connection)
            worker, proposal, failures = self._busy.pop(connection)
            try:
                outcome, warnings = connection.recv()
            except (EOFError, ConnectionError):
                worker.end()
                if failures < MAX_FAILURES:
                    self._assign(proposal, failures + 1)
                    continue
                status = worker.process.exitcode
                yield (
                    proposal.number,
                    Failure(f"{failures + 1} workers died while they tried it, the last with exit status {status}"),
                )
                continue
            self._idle.append(worker)
            for line in warnings:
                console.warn(line)
            if isinstance(outcome, BaseException):
                raise outcome
            yield proposal.number, outcome

    def _assign(self, proposal: Proposal, failures: int) -> None:
        while self._idle:
            worker = self._idle.pop()
            if worker.send(proposal):
                break
            worker.end()
        else:
            worker = _Worker.start(self._pickled_evaluate, self._threads)
            worker.send(proposal)  # if the worker has died already, wait() reports it
        self._busy[worker.connection] = (worker, proposal, failures)


@dataclass(frozen=True)
class _Worker:
    """A worker process, and the driver's end of the pipe to it."""

    process: Any
    connection: Connection

    @classmethod
    def start(cls, pickled_evaluate: bytes, threads: int) -> _Worker:
        connection, worker_end = _processes.Pipe()
        process = _processes.Process(target=_serve, args=(worker_end, threads, os.getpid()), daemon=True)
        process.start()
        worker_end.close()  # else the pipe would stay open when the worker dies
        # The pickled function goes over the connection, and not as an argument of the process. start() writes arguments
        # to a pipe of its own, and holds both ends of that pipe open. If arguments are larger than the pipe's buffer
        # and the worker dies before it reads them, start() waits forever.
        with contextlib.suppress(OSError):  # if the worker has died already, wait() reports it
            connection.send_bytes(pickled_evaluate)
        return cls(process, connection)

    def send(self, proposal: Proposal) -> bool:
        """Send a proposal; return False if the worker is dead."""
        try:
            self.connection.send(proposal)
        except OSError:
            return False
        return True

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


def _serve(connection: Connection, threads: int, driver: int) -> None:
    """Run a worker process: receive plans over the connection and try each, until the connection closes.

    For each plan the worker sends back a pair. The first item is the outcome, or an error that ends the search. The
    second item holds the warnings since the previous pair. The driver prints and stores them.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver handles Ctrl-C
    threading.Thread(target=_end_with_driver, args=(driver,), daemon=True).start()
    with console.divert_warnings() as warnings:
        try:
            pickled_evaluate = connection.recv_bytes()
        except EOFError:
            return
        try:
            import torch

            torch.set_num_threads(threads)
            evaluate: Evaluate = pickle.loads(pickled_evaluate)
        except Exception as error:
            refusal = UserError(f"search.executor: a worker cannot start: {describe_error(error)}")
            connection.send((refusal, warnings))
            return
        while True:
            try:
                proposal: Proposal = connection.recv()
            except EOFError:
                return
            _send(connection, _try_plan(evaluate, proposal), warnings)
            warnings.clear()


def _try_plan(evaluate: Evaluate, proposal: Proposal) -> Evaluated | Failure | OSError:
    try:
        return try_plan(evaluate, proposal.plan)
    except OSError as error:
        return OSError(error.errno, error.strerror, error.filename)


def _send(connection: Connection, outcome: Evaluated | Failure | OSError, warnings: list[str]) -> None:
    try:
        connection.send((outcome, warnings))
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        cause = f"its outcome cannot leave the worker process: {describe_error(error)}"
        connection.send((Failure(cause), warnings))


def _end_with_driver(driver: int) -> None:
    while os.getppid() == driver:
        time.sleep(DRIVER_CHECK_S)
    os._exit(1)
