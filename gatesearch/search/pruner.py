"""Successive halving for several objectives: which trainings are worth their next epochs.

A training is judged at rungs, after ``first`` epochs, ``reduction`` times as many, and so on. It goes on where it is
among the best of those that came so far, one in ``reduction``: plans that keep the constraints come first, then those
whom fewer beat (non-dominated sorting), then those that stand further from their neighbours (Schmucker et al. 2021,
"Multi-objective Asynchronous Successive Halving", section 4, with NSGA-II's crowding distance for their epsilon-net).

Four things are ours. A rung decides only once it was seen to tell: while the errors of whole trainings there are not in
the order in which they were in the end (Kendall's tau), all go on. The others are for proposals that are good already.
The first few to reach a rung go on: there is nothing to compare them with. Whom nobody beats at its rung goes on,
however many those are. And what is given up can be proposed again, to be trained on: a sampler that reads rungs learns
from them by :func:`forecast`, and may think better of one.

Everything here is a function of rungs: who keeps the rungs decides the same again.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gatesearch.search import pareto
from gatesearch.search.rank_correlation import kendall

Array = npt.NDArray[np.float64]
LEAST_ERROR = 1e-3
SEEN = 5  # whole trainings, before it is known whether a rung tells
USUAL_SPREAD = 0.2  # of the logarithm of an error, by which trainings go on differently; counts as one observation
RUNGS = "rungs"  # user attribute of a trial: what it had come to, by epoch


class Standing(NamedTuple):
    """What a training had come to after an epoch: all to be minimised, and by how much each constraint is broken."""

    minimised: tuple[float, ...]
    violations: Mapping[str, float]


Course = Mapping[int, Standing]  # of one training, by epoch


@dataclass(frozen=True)
class Halving:
    """The rule.

    Args:
        first: epochs to the first rung.
        reduction: one in so many goes on; at 1 all do.
        epochs: of a whole training.
        tau: least agreement of a rung with the end, over at least :data:`SEEN` whole trainings; 0: never doubted.

    >>> Halving(first=1, reduction=3, epochs=10).rungs
    (1, 3, 9)
    >>> Halving(first=1, reduction=1, epochs=10).rungs
    ()
    """

    first: int
    reduction: int
    epochs: int
    tau: float = 0.6

    @property
    def rungs(self) -> tuple[int, ...]:
        """After which epochs a training is judged, the last one excluded."""
        found, epoch = [], self.first
        while self.reduction > 1 and epoch < self.epochs:
            found.append(epoch)
            epoch *= self.reduction
        return tuple(found)

    def keeps(self, epoch: int, own: Standing, others: Sequence[Course]) -> bool:
        """Say whether a training goes on.

        Args:
            epoch: after which it is judged.
            own: what it has come to.
            others: all other trainings so far, whatever became of them.
        """
        here = [course[epoch] for course in others if epoch in course]
        if epoch not in self.rungs or len(here) < self.reduction or not self._tells(epoch, others):
            return True
        # A constraint is for whole trainings: what is broken now may be kept at the end, as it was by others.
        gained = _gains(epoch, self.epochs, others)
        every = [*here, own]
        points, over = [one.minimised for one in every], [_excess(one.violations, gained) for one in every]
        place = ranked(points, over).index(len(here))
        kept = [points[i] for i in range(len(here)) if over[i] <= 0]
        unbeaten = over[-1] <= 0 and not any(pareto.dominates(point, points[-1]) for point in kept)
        return unbeaten or place < math.ceil(len(every) / self.reduction)

    def _tells(self, epoch: int, others: Sequence[Course]) -> bool:
        """Say whether who looks good at a rung was good in the end so far."""
        if not self.tau:
            return True
        whole = [
            (c[epoch].minimised[0], c[self.epochs].minimised[0]) for c in others if epoch in c and self.epochs in c
        ]
        return len(whole) >= SEEN and kendall(*zip(*whole, strict=True)) >= self.tau


def written(course: Course) -> dict[str, Any]:
    """Return what is kept of a training, as JSON has it."""
    return {
        str(epoch): {"minimised": list(one.minimised), "violations": dict(one.violations)}
        for epoch, one in course.items()
    }


def read(rungs: Mapping[str, Mapping[str, Any]]) -> dict[int, Standing]:
    """Return the course that a trial's :data:`RUNGS` tell.

    >>> read(written({1: Standing((0.1, 2.0, 3.0), {"accuracy": 0.0})}))
    {1: Standing(minimised=(0.1, 2.0, 3.0), violations={'accuracy': 0.0})}
    """
    return {int(epoch): Standing(tuple(r["minimised"]), r["violations"]) for epoch, r in rungs.items()}


def ranked(points: Sequence[Sequence[float]], excess: Sequence[float]) -> list[int]:
    """Return indices, the best first; of two that are alike the earlier.

    Args:
        points: to be minimised, [n, objectives].
        excess: by how much constraints are broken, above 0 where they are, [n].

    >>> ranked([(1, 4), (2, 2), (3, 3), (4, 1), (0, 0)], [0, 0, 0, 0, 0.5])
    [0, 3, 1, 2, 4]
    """
    values = np.array([tuple(point) for point in points], dtype=float)
    beats = np.all(values[:, None] <= values[None], axis=2) & np.any(values[:, None] < values[None], axis=2)
    left = np.flatnonzero(np.array(excess) <= 0)
    order: list[int] = []
    while len(left):
        beaten = beats[np.ix_(left, left)].any(0)
        best = left[~beaten]
        order += best[np.argsort(-crowding(values[best]), kind="stable")].tolist()
        left = left[beaten]
    broken = [i for i, over in enumerate(excess) if over > 0]
    return order + sorted(broken, key=lambda i: excess[i])


def crowding(points: Array) -> Array:
    """Return how far each of [n, objectives] is from its neighbours along every objective, [n]; infinite at the ends.

    Deb et al. 2002, "A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II", section III.B.

    >>> crowding(np.array([[0.0, 4.0], [1.0, 2.0], [4.0, 0.0]])).tolist()
    [inf, 2.0, inf]
    """
    found = np.zeros(len(points))
    for values in points.T:
        order = np.argsort(values, kind="stable")
        width = values[order[-1]] - values[order[0]]
        if width > 0:
            found[order[[0, -1]]] = np.inf
            found[order[1:-1]] += (values[order[2:]] - values[order[:-2]]) / width
    return found


class Forecast(NamedTuple):
    """What a training that ended early would have come to, and how sure that is.

    ``deviation`` is that of the logarithm of its error.
    """

    standing: Standing
    deviation: float


def forecast(epoch: int, epochs: int, now: Standing, others: Sequence[Course]) -> Forecast | None:
    """Return what a training that ended early would have come to, if it had gone on as others did.

    The error by the median of the others' ratios, excesses by the median of their differences, costs as they are.
    None where no other both came by that epoch and was trained to the end.
    """
    ratios = _ratios(epoch, epochs, others)
    if not ratios:
        return None
    ratio = statistics.median(ratios)
    gained = _gains(epoch, epochs, others)
    over = {name: value + gained.get(name, 0.0) for name, value in now.violations.items()}
    apart = [USUAL_SPREAD**2] + [math.log(one / ratio) ** 2 for one in ratios]
    return Forecast(Standing((ratio * _error(now), *now.minimised[1:]), over), math.sqrt(statistics.fmean(apart)))


def _ratios(epoch: int, epochs: int, courses: Sequence[Course]) -> list[float]:
    """Return by what factor errors changed from an epoch to the end, in whole trainings."""
    return [_error(c[epochs]) / _error(c[epoch]) for c in courses if epoch in c and epochs in c]


def _error(one: Standing) -> float:
    return max(LEAST_ERROR, one.minimised[0])


def _gains(epoch: int, epochs: int, courses: Sequence[Course]) -> dict[str, float]:
    """Return by how much each excess changed from an epoch to the end, in the median of whole trainings."""
    changes: dict[str, list[float]] = {}
    for course in courses:
        if epoch in course and epochs in course:
            for name, then in course[epoch].violations.items():
                changes.setdefault(name, []).append(course[epochs].violations.get(name, then) - then)
    return {name: statistics.median(values) for name, values in changes.items()}


def _excess(violations: Mapping[str, float], gained: Mapping[str, float]) -> float:
    return sum(max(0.0, over + gained.get(name, 0.0)) for name, over in violations.items())
