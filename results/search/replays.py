"""Replays each engine on each table with each seed, and stores every replay in a file."""

from __future__ import annotations

import math
import re
import statistics
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from gatesearch._lib import console
from gatesearch.pipeline.run_dir import RunFolder
from results.benchmark import revision
from results.search.engines import ENGINES
from results.search.library_engines import missing
from results.search.replay import Replay, Step, volumes
from results.search.table import Table

REACHED_SHARE = 0.95  # share of the true hypervolume that counts as reached
EVALUATION_COUNTS = (10, 20, 30, 50, 80)  # numbers of evaluations after which tables show the hypervolume
BY_SEED = ("curves", "repeats", "milliseconds", "cut", "revision", "trainings")


@dataclass(frozen=True)
class Outcome:
    """The replays of one engine on one table, by seed.

    Args:
        table, engine: names of the table and of the engine.
        evaluations: budget of a replay, in evaluations.
        curves: hypervolume as a share of the hypervolume of all plans; entry k is the share when the replay has spent
            the epochs of k + 1 full trainings.
        repeats: proposals of plans that were evaluated before, divided by evaluations.
        milliseconds: median time of a suggestion.
        cut: whether the limit of proposals ended the replay.
        revision: revision of the code that made the replay.
        to_enough: simulated seconds of trainings and suggestions until 95 % of the hypervolume; infinite if the replay
            did not reach 95 %.
        trainings: number of different combinations of gates among the first 50 evaluations.
    """

    table: str
    engine: str
    evaluations: int
    curves: Mapping[int, Sequence[float]]
    repeats: Mapping[int, float]
    milliseconds: Mapping[int, float]
    cut: Mapping[int, bool]
    revision: Mapping[int, str]
    to_enough: Mapping[int, float]
    trainings: Mapping[int, float]

    def volume_after(self, evaluations: int) -> dict[int, float]:
        """Return the share of the hypervolume after a number of evaluations, by seed."""
        return {seed: curve[min(evaluations, len(curve)) - 1] for seed, curve in self.curves.items()}

    def evaluations_to_enough(self) -> dict[int, float]:
        """Return the number of evaluations to 95 %, by seed; one more than the budget if 95 % was not reached."""
        counts = {}
        for seed, curve in self.curves.items():
            first = next((i + 1 for i, volume in enumerate(curve) if volume >= REACHED_SHARE), self.evaluations + 1)
            counts[seed] = float(first)
        return counts


def replay_all(
    folder: RunFolder,
    tables: Sequence[Table],
    budget: Mapping[str, tuple[int, Sequence[int]]],
    on_engine: Callable[[list[Outcome]], object],
) -> None:
    """Make the replay of every table, engine and seed that has no file yet.

    Args:
        folder: folder of the replays.
        tables: tables on which every engine is replayed.
        budget: evaluations and seeds by engine.
        on_engine: function that is called after each engine with all outcomes so far.
    """
    installed = {engine: budget_of for engine, budget_of in budget.items() if not missing(engine)}
    pending: dict[str, list[tuple[Table, int]]] = {}
    for engine, (_, seeds) in installed.items():
        pairs = [(table, seed) for table in tables for seed in seeds]
        pending[engine] = [pair for pair in pairs if folder.read_json(_name(pair[0], engine, pair[1])) is None]
    with console.progress(sum(map(len, pending.values())), "replays") as bar:
        for engine, pairs in pending.items():
            for table, seed in pairs:
                folder.write_json(_name(table, engine, seed), _replay(table, engine, seed, installed[engine][0]))
                bar.advance(note=f"{engine} on {table.name}")
            outcomes = []
            for table in tables:
                for name, (evaluations, seeds) in installed.items():
                    outcomes.append(_outcome(folder, table, name, seeds, evaluations))
            on_engine([outcome for outcome in outcomes if outcome.curves])


def _outcome(folder: RunFolder, table: Table, engine: str, seeds: Sequence[int], evaluations: int) -> Outcome:
    traces = {}
    for seed in seeds:
        if (trace := folder.read_json(_name(table, engine, seed))) is not None:
            traces[seed] = trace
    fields: dict[str, dict[int, Any]] = {name: {} for name in BY_SEED}
    for name, values in fields.items():
        values.update({seed: trace[name] for seed, trace in traces.items()})
    to_enough = {seed: math.inf if trace["to_enough"] is None else trace["to_enough"] for seed, trace in traces.items()}
    return Outcome(table=table.name, engine=engine, evaluations=evaluations, to_enough=to_enough, **fields)


def _replay(table: Table, engine: str, seed: int, evaluations: int) -> dict[str, Any]:
    replay = Replay(table, evaluations)
    ENGINES[engine](replay, seed)
    trace = replay.trace
    curve = volumes(table, trace.steps)
    return {
        "curves": [round(volume, 6) for volume in _per_training(table, trace.steps, curve)],
        "repeats": trace.repeats / max(1, len(trace.plans)),
        "milliseconds": statistics.median(trace.seconds) * 1e3,
        "cut": trace.cut,
        "revision": revision(),
        "to_enough": _seconds_to_enough(table, trace.steps, curve, statistics.fmean(trace.seconds)),
        "trainings": len({int(table.training[plan]) for plan in trace.plans[:50]}),
    }


def _per_training(table: Table, steps: Sequence[Step], curve: Sequence[float]) -> list[float]:
    """Return the hypervolume when the epochs of 1, 2, 3 and more full trainings are spent."""
    spent = list(accumulate(step.trained for step in steps))
    volumes_before = [0.0, *curve]
    return [
        volumes_before[bisect_right(spent, k * table.epochs)]
        for k in range(1, (spent[-1] if spent else 0) // table.epochs + 1)
    ]


def _seconds_to_enough(table: Table, steps: Sequence[Step], curve: Sequence[float], suggestion: float) -> float | None:
    """Return the seconds of trainings and suggestions to 95 % of the hypervolume; None if 95 % was not reached.

    Args:
        table: the recorded outcomes, with the seconds of each training.
        steps: the evaluations in order.
        curve: the share of the true hypervolume after each evaluation.
        suggestion: mean duration of a suggestion [s].
    """
    spent = 0.0
    for step, volume in zip(steps, curve, strict=True):
        seconds = table.seconds[table.training[step.plan]]
        before = seconds[table.level(step.epoch - step.trained)] if step.epoch > step.trained else 0.0
        spent += float(seconds[table.level(step.epoch)] - before) + suggestion
        if volume >= REACHED_SHARE:
            return spent
    return None


def _name(table: Table, engine: str, seed: int) -> str:
    return f"{table.name}/{re.sub(r'[^A-Za-z0-9-]', '', engine.replace(' ', '-'))}-{seed}.json"
