"""A gate's decision on a stream: moving mean of its scores, threshold, and a hold time.

When a gate opens, the part behind it has to compute a whole window, which costs as much as 20 to 25 hops. So a gate
that opens and closes often costs more than one that stays open a little longer. The module needs only NumPy.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatesearch.errors import DataError

Array = NDArray[Any]
SHORT_HOPS = 24  # number of hops below which one call a hop is faster than arithmetic on arrays


@dataclass(frozen=True, slots=True)
class StreamGateSettings:
    """The settings with which a gate decides on a stream.

    Args:
        threshold: the value that the mean of the scores has to exceed; -inf passes every hop, inf passes none.
        smoothing: number of hops in the mean.
        hold: number of hops for which the gate stays open after the last hop whose mean exceeds the threshold.

    Raises:
        DataError: a value is not valid.

    >>> StreamGateSettings(threshold=0.0, smoothing=0)
    Traceback (most recent call last):
    ...
    gatesearch.errors.DataError: stream gate: smoothing: 0; wanted: a whole number from 1
    """

    threshold: float
    smoothing: int = 1
    hold: int = 0

    def __post_init__(self) -> None:
        for name, value, least in (("smoothing", self.smoothing, 1), ("hold", self.hold, 0)):
            if not isinstance(value, int) or value < least:
                raise DataError(f"stream gate: {name}: {value!r}; wanted: a whole number from {least}")
        if math.isnan(self.threshold):
            raise DataError("stream gate: threshold: nan; wanted: a number")


@dataclass(slots=True)
class StreamGate:
    """Decides hop by hop whether the part behind a gate runs.

    The mean covers the last ``smoothing`` scores since the part before the gate started to run; there may be fewer.
    While that part does not run, there is no score. The gate is then closed, and its scores and its hold are cleared.

    :meth:`push` processes one hop, and :meth:`decide` processes a whole recording. The two methods compute the same
    values bit for bit.

    Args:
        settings: the settings of the gate.

    >>> gate = StreamGate(StreamGateSettings(threshold=0.0, smoothing=2, hold=1))
    >>> [gate.push(score) for score in (-1.0, 3.0, -5.0, -5.0, None, 1.0)]
    [False, True, True, False, False, True]
    >>> scores = np.array([-1.0, 3.0, -5.0, -5.0, 0.0, 1.0])
    >>> gate.decide(scores, np.array([True, True, True, True, False, True])).tolist()
    [False, True, True, False, False, True]
    """

    settings: StreamGateSettings
    _scores: deque[float] = field(init=False, repr=False)
    _hold: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Clear the state; the next hop is the first one of a stream."""
        self._scores = deque(maxlen=self.settings.smoothing)
        self._hold = 0

    def push(self, score: float | None) -> bool:
        """Read the score of one hop, or None if the part before the gate does not run; return whether the gate is open.

        Raises:
            DataError: the score is not finite.
        """
        if score is None:
            self.reset()
            return False
        value = float(score)
        if not math.isfinite(value):
            raise DataError(f"stream gate: a score is {value}; wanted: a finite number")
        self._scores.append(value)
        total = 0.0
        for each in self._scores:
            total += each
        if total / len(self._scores) > self.settings.threshold:
            self._hold = self.settings.hold
            return True
        is_open = self._hold > 0
        self._hold = max(0, self._hold - 1)
        return is_open

    def push_hops(self, scores: Array) -> Array:
        """Read the scores of hops that follow each other, [n]; return whether the gate is open at each, [n].

        The results and the state afterwards are those of :meth:`push` for each score.

        Raises:
            DataError: a score is not finite.
        """
        if len(scores) < SHORT_HOPS:
            return np.array([self.push(score) for score in scores.tolist()], bool)
        earlier = list(self._scores)
        values = np.concatenate([earlier, scores.astype(float)])
        means = smooth_scores(values, np.ones(len(values), bool), self.settings.smoothing)[len(earlier) :]
        above = means > self.settings.threshold
        # If the gate is still held open from earlier hops, the last mean above the threshold was hold - self._hold hops
        # before the first of these hops.
        since = _hops_since(above, before=self.settings.hold - self._hold)
        self._scores.extend(values[-self.settings.smoothing :].tolist())
        self._hold = max(0, self.settings.hold - int(since[-1]))
        is_open: Array = since <= self.settings.hold
        return is_open

    def decide(self, scores: Array, runs: Array) -> Array:
        """Return whether the gate is open at each hop of a recording, [hops]; the state of :meth:`push` stays as it is.

        Args:
            scores: score of every hop, [hops]; only those of hops at which the part runs are read.
            runs: whether the part before the gate runs at each hop, [hops].

        Raises:
            DataError: a shape is wrong, or a score is not finite.
        """
        means = smooth_scores(scores, runs, self.settings.smoothing)
        return hold_open(means > self.settings.threshold, runs, (self.settings.hold,))[0]


def smooth_scores(scores: Array, runs: Array, smoothing: int) -> Array:
    """Return the mean score that a gate compares with its threshold, [hops]; -inf at hops without a score.

    Args:
        scores: score of every hop, [hops].
        runs: whether the part before the gate runs at each hop, [hops]; if not, the hop has no score.
        smoothing: number of hops in the mean; fewer right after the part started to run.

    Raises:
        DataError: a shape is wrong, or a score is not finite at a hop at which the part runs.

    >>> smooth_scores(np.array([2.0, 4.0, 6.0, 0.0, 8.0]), np.array([True, True, True, False, True]), 2).tolist()
    [2.0, 3.0, 5.0, -inf, 8.0]
    """
    if scores.ndim != 1 or scores.shape != runs.shape:
        raise DataError(f"stream gate: scores {list(scores.shape)}, runs {list(runs.shape)}; wanted: [hops] each")
    active = runs.astype(bool)
    values = np.where(active, scores, 0.0).astype(float)
    if not np.isfinite(values).all():
        raise DataError(f"stream gate: the score of hop {int(np.flatnonzero(~np.isfinite(values))[0])} is not finite")
    # The sum runs from the oldest score to the newest, as in `push`, so that both round alike.
    age = _hops_since(~active)
    total = np.zeros(len(values))
    for lag in range(min(smoothing, len(values)) - 1, -1, -1):
        total[lag:] += np.where(age[lag:] > lag, values[: len(values) - lag], 0.0)
    return np.where(active, total / np.clip(age, 1, smoothing), -np.inf)


def hold_open(above: Array, runs: Array, holds: Sequence[int]) -> list[Array]:
    """Return, for each hold, whether a gate is open at each hop, [holds][hops].

    It is open if a mean exceeded the threshold at most ``hold`` hops ago, and the part before it has run since then.

    Args:
        above: whether the mean exceeds the threshold at each hop, [hops].
        runs: whether the part before the gate runs at each hop, [hops].
        holds: numbers of hops for which the gate stays open, one for each result.

    >>> above = np.array([True, False, False, False, True, False, False])
    >>> hold_open(above, np.array([True, True, True, True, True, False, True]), (2,))[0].tolist()
    [True, True, True, False, True, False, False]
    """
    active = runs.astype(bool)
    never = len(above) + max(holds) + 1
    since = _hops_since(above & active, before=never)
    # A hop at which the part did not run, after the last mean above the threshold, ends the hold.
    since[since >= _hops_since(~active)] = never
    return [active & (since <= hold) for hold in holds]


def _hops_since(marks: Array, before: int = 0) -> Array:
    """Return for each hop the number of hops since the last mark, [hops]; 0 at a mark.

    One more mark is assumed before the recording, at hop -1 - ``before``.

    >>> _hops_since(np.array([False, True, False, False])).tolist()
    [1, 0, 1, 2]
    """
    hops = np.arange(len(marks))
    last = np.maximum.accumulate(np.where(marks, hops, -1 - before)) if len(marks) else hops
    since: Array = hops - last
    return since
