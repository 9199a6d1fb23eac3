"""All replays: each engine on each table with each seed, written down when it is done."""

from __future__ import annotations

import re
import statistics
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from gatesearch._lib import console
from gatesearch._lib.revision import revision
from gatesearch.pipeline.run_dir import RunFolder
from results.search.engines import ENGINES
from results.search.replay import Replay, Step, volumes
from results.search.rivals import missing
from results.search.table import Table

ENOUGH = 0.95  # of the true hypervolume
AT = (10, 20, 30, 50, 80)  # evaluations at which figures are told
LEVELS = (0.8, 0.9, 0.95, 0.98)  # of the true hypervolume, up to which epochs of training are counted
TRIED = (40, 80)  # plans begun, after which epochs of training and hypervolume are noted


@dataclass(frozen=True)
class Outcome:
    """What one engine did with one table, by seed.

    Args:
        table, engine: which.
        evaluations: that it was given.
        curves: hypervolume after each evaluation, as a share of the true one; counted in whole trainings, by seed.
        repeats: proposals of plans that were evaluated before, for each evaluation, by seed.
        milliseconds: median time of a suggestion, by seed.
        cut: whether it repeated itself too often to go on, by seed.
        revision: of the code that replayed, by seed.
        to_enough: simulated seconds, trainings and suggestions, to 95 %; infinite where it was not reached, by seed.
        trainings: different combinations of gates among the first 50 evaluations, by seed.
        epochs_to: epochs of training to each of :data:`LEVELS`, None where it was not reached, by seed.
        begun: epochs of training and hypervolume when each of :data:`TRIED` plans were tried, whole or in part, and
            nothing more; None where there were not as many; by seed.
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
    epochs_to: Mapping[int, Sequence[float | None]]
    begun: Mapping[int, Sequence[tuple[int, float] | None]]

    def at(self, evaluations: int) -> dict[int, float]:
        """Return the share of the hypervolume after so many evaluations, by seed."""
        return {seed: curve[min(evaluations, len(curve)) - 1] for seed, curve in self.curves.items()}

    def enough(self) -> dict[int, float]:
        """Return the evaluations to 95 %, by seed; one more than there were where it was not reached."""
        return reached(self, ENOUGH)


def reached(outcome: Outcome, level: float) -> dict[int, float]:
    """Return the evaluations to a share of the hypervolume, by seed; one more than there were where it was not."""
    return {
        seed: float(next((i + 1 for i, volume in enumerate(curve) if volume >= level), outcome.evaluations + 1))
        for seed, curve in outcome.curves.items()
    }


def replay_all(
    folder: RunFolder,
    tables: Sequence[Table],
    budget: Mapping[str, tuple[int, Sequence[int]]],
    on_engine: Callable[[list[Outcome]], object],
) -> None:
    """Replay what is not written down yet.

    Args:
        folder: of the replays.
        tables: each with each engine.
        budget: evaluations and seeds by engine.
        on_engine: called with everything that is written down, after each engine.
    """
    able = {engine: given for engine, given in budget.items() if not missing(engine)}
    left = {
        engine: [(t, s) for t in tables for s in seeds if folder.read_json(_name(t, engine, s)) is None]
        for engine, (_, seeds) in able.items()
    }
    with console.progress(sum(map(len, left.values())), "replays") as bar:
        for engine, pairs in left.items():
            for table, seed in pairs:
                folder.write_json(_name(table, engine, seed), _replayed(table, engine, seed, able[engine][0]))
                bar.advance(note=f"{engine} on {table.name}")
            found = [
                _outcome(folder, table, one, seeds, most) for table in tables for one, (most, seeds) in able.items()
            ]
            on_engine([outcome for outcome in found if outcome.curves])


def _outcome(folder: RunFolder, table: Table, engine: str, seeds: Sequence[int], evaluations: int) -> Outcome:
    every = {seed: folder.read_json(_name(table, engine, seed)) for seed in seeds}
    kept = {seed: row for seed, row in every.items() if row is not None}
    by_key = {key: {seed: row[key] for seed, row in kept.items()} for key in next(iter(kept.values()), ())}
    seconds = by_key.pop("to_enough", {})
    to_enough = {seed: float("inf") if value is None else value for seed, value in seconds.items()}
    names = ("curves", "repeats", "milliseconds", "cut", "revision", "trainings", "epochs_to", "begun")
    empty: dict[str, dict[int, Any]] = {name: {} for name in names}
    return Outcome(table.name, engine, evaluations, to_enough=to_enough, **{**empty, **by_key})


def _replayed(table: Table, engine: str, seed: int, evaluations: int) -> dict[str, Any]:
    replay = Replay(table, evaluations)
    ENGINES[engine](replay, seed)
    trace = replay.trace
    found = volumes(table, trace.steps)
    return {
        "curves": [round(volume, 6) for volume in _per_training(table, trace.steps, found)],
        "repeats": trace.repeats / max(1, len(trace.plans)),
        "milliseconds": statistics.median(trace.seconds) * 1e3,
        "cut": trace.cut,
        "revision": revision(),
        "to_enough": _seconds_to_enough(table, trace.steps, found, statistics.fmean(trace.seconds)),
        "trainings": len({int(table.training[plan]) for plan in trace.plans[:50]}),
        "epochs_to": [_epochs_to(trace.steps, found, level) for level in LEVELS],
        "begun": [_begun(trace.steps, found, count) for count in TRIED],
    }


def _epochs_to(steps: Sequence[Step], found: Sequence[float], level: float) -> int | None:
    spent = accumulate(step.trained for step in steps)
    return next((epochs for epochs, volume in zip(spent, found, strict=True) if volume >= level), None)


def _begun(steps: Sequence[Step], found: Sequence[float], count: int) -> tuple[int, float] | None:
    """Return epochs and hypervolume just before one more plan than so many is begun, or at the end."""
    plans: set[int] = set()
    spent, volume = 0, 0.0
    for step, after in zip(steps, found, strict=True):
        if step.plan not in plans and len(plans) == count:
            return spent, volume
        plans.add(step.plan)
        spent, volume = spent + step.trained, after
    return (spent, volume) if len(plans) == count else None


def _per_training(table: Table, steps: Sequence[Step], found: Sequence[float]) -> list[float]:
    """Return the hypervolume after each whole training that was spent, however many plans it was spread over."""
    spent = list(accumulate(step.trained for step in steps))
    volumes_before = [0.0, *found]
    return [
        volumes_before[bisect_right(spent, k * table.epochs)]
        for k in range(1, (spent[-1] if spent else 0) // table.epochs + 1)
    ]


def _seconds_to_enough(table: Table, steps: Sequence[Step], found: Sequence[float], suggestion: float) -> float | None:
    """Return trainings' and suggestions' seconds up to 95 %; None where it was not reached."""
    spent = 0.0
    for step, volume in zip(steps, found, strict=True):
        seconds = table.seconds[table.training[step.plan]]
        before = seconds[table.level(step.epoch - step.trained)] if step.epoch > step.trained else 0.0
        spent += float(seconds[table.level(step.epoch)] - before) + suggestion
        if volume >= ENOUGH:
            return spent
    return None


def _name(table: Table, engine: str, seed: int) -> str:
    return f"{table.name}/{re.sub(r'[^A-Za-z0-9-]', '', engine.replace(' ', '-'))}-{seed}.json"
