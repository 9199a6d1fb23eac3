"""Measures the time that a search adds to a trial with each storage, and its efficiency with many workers."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from gatesearch._lib.timing import fingerprint
from gatesearch.graph.sites import CutSite
from gatesearch.plan import GatePlan, Scalar
from gatesearch.search import SearchSettings, engine
from gatesearch.search.executors.base import Executor
from gatesearch.search.executors.local import LocalWorkers
from gatesearch.search.sampler.choice import build_optuna_sampler
from gatesearch.search.sampler.neighbours import Candidates
from gatesearch.search.space import Space
from gatesearch.search.space_builder import build_space
from gatesearch.search.storage import Place
from results.cluster.sleep import Sleep, make_up

STORAGES = ("journal", "sqlite")
TRIALS = 200  # trials in the measurement of the search alone
PAUSE_S = 0.02  # time between asking for a plan and telling its outcome; it stands for a very short trial
TRIAL_S = 5.0  # mean duration of a trial in searches over many workers
# Trials for each worker, by executor. Ray's workers take longer to start, so more trials are needed until all of them
# work at the same time.
TRIALS_A_WORKER = {"local": 4, "ray": 8}
SEED = 0

Measurement = dict[str, Any]


def make_space() -> Space:
    """Return a search space of eight cut sites and two cores."""
    sites = tuple(CutSite(f"b{i}", (8, 3, 2), 10 * i, 300 - 10 * i, 0, 0, f"b{i}") for i in range(8))
    kinds: dict[str, dict[str, list[Scalar]]] = {
        "gc": {"mode": ["channel", "activation"], "keep": [0.25, 0.5, 0.75, 1.0], "recall": [0.98, 0.99]}
    }
    return build_space(sites, cores=("mcu", "npu"), kinds=kinds)


def price(plan: GatePlan) -> Mapping[str, float]:
    """Return a price that breaks no constraint, so that no plan is ruled out."""
    return {"made_up": -1.0}


def engine_measurement(storage: str) -> Callable[[Path], Measurement]:
    """Return a function that measures the time of the search itself; its argument is the folder of the storage."""

    def measure(folder: Path) -> Measurement:
        where: Place = folder / f"{storage}.study"
        (folder / f"{storage}.study").unlink(missing_ok=True)
        if storage != "journal":
            where = f"{storage}:///{where}"
        space = make_space()
        ask_s: list[float] = []
        tell_s: list[float] = []
        plans: dict[GatePlan, Mapping[str, Scalar]] = {}
        generator = Random(SEED)
        for gates in Candidates(space).draw_evenly(4 * TRIALS, generator):
            plan = generator.choice(space.plans_for(gates))
            plans.setdefault(plan, space.describe(plan))
        initial: list[Mapping[str, Scalar]] = list(islice(plans.values(), TRIALS))
        settings = SearchSettings(journal=where, trials=TRIALS, proposals=10 * TRIALS, seed=SEED, initial=initial)
        with engine.open_session(space, price, settings) as session:
            for _ in range(TRIALS):
                started = time.perf_counter()
                trial = session.ask()
                ask_s.append(time.perf_counter() - started)
                assert trial is not None
                time.sleep(PAUSE_S)
                started = time.perf_counter()
                session.tell(trial.number, make_up(trial.plan))
                tell_s.append(time.perf_counter() - started)
        both_s = [ask + tell for ask, tell in zip(ask_s, tell_s, strict=True)]
        return {
            "ask_ms": 1e3 * statistics.median(ask_s),
            "tell_ms": 1e3 * statistics.median(tell_s),
            "median_ms": 1e3 * statistics.median(both_s),
            "mean_ms": 1e3 * statistics.mean(both_s),
            "p95_ms": 1e3 * sorted(both_s)[int(0.95 * len(both_s))],
            "machine": fingerprint(),
        }

    return measure


def scaling_measurement(name: str, workers: int) -> Callable[[Path], Measurement]:
    """Return a function that measures a search with some workers; its argument is the folder of the search."""

    def measure(folder: Path) -> Measurement:
        notes, journal = folder / f"{name}-{workers}.notes", folder / f"{name}-{workers}.study"
        for old in (notes, journal):
            old.unlink(missing_ok=True)
        evaluate = Sleep(TRIAL_S, notes.absolute())
        started = time.time()
        with _EXECUTORS[name](evaluate, workers, folder) as executor:
            settings = SearchSettings(
                journal=journal,
                trials=TRIALS_A_WORKER[name] * workers,
                proposals=100 * TRIALS_A_WORKER[name] * workers,
                seed=SEED,
                sampler=build_optuna_sampler("tpe", SEED),
            )
            result = engine.search(make_space(), price, evaluate, settings, executor)
        return {
            **utilisation([line.split() for line in notes.read_text().splitlines()], workers, started),
            "trials": len(result.complete),
            "machine": fingerprint(),
        }

    return measure


@contextmanager
def _local(evaluate: Sleep, workers: int, folder: Path) -> Iterator[Executor]:
    yield LocalWorkers(evaluate, workers)


@contextmanager
def _ray(evaluate: Sleep, workers: int, folder: Path) -> Iterator[Executor]:
    from gatesearch.search.executors.tune import RayTune, connect  # raises a UserError where Ray is not installed

    executor = RayTune(evaluate, folder / "ray", workers=workers)
    import ray

    connect(None, cpus=workers)
    try:
        yield executor
    finally:
        ray.shutdown()


_EXECUTORS = {"local": _local, "ray": _ray}


def utilisation(notes: list[list[str]], workers: int, started: float) -> Measurement:
    """Return the efficiency of the workers, and the times of the search.

    Efficiency is the share of the workers' time that is spent in trials. It covers the time from when every worker has
    started a trial until the last trial starts.

    Args:
        notes: process, begin and end of each trial, as strings; begin and end are times [s].
        workers: number of workers.
        started: time at which the search started [s].

    >>> utilisation([["1", "1", "2"], ["1", "2.5", "3.5"], ["2", "1.5", "3"]], 2, 0.0)["efficiency"]
    0.75
    """
    spans = [(float(begin), float(end)) for _, begin, end in notes]
    firsts: dict[str, float] = {}
    for process, begin, _ in notes:
        firsts[process] = min(float(begin), firsts.get(process, float("inf")))
    opens, closes = max(firsts.values()), max(begin for begin, _ in spans)
    if closes <= opens:
        closes = max(end for _, end in spans)
    busy = sum(max(0.0, min(end, closes) - max(begin, opens)) for begin, end in spans)
    return {
        "efficiency": busy / (workers * (closes - opens)),
        "window_s": closes - opens,
        "startup_s": opens - started,
        "makespan_s": max(end for _, end in spans) - started,
        "work_s": sum(end - begin for begin, end in spans),
        "processes": len(firsts),
    }
