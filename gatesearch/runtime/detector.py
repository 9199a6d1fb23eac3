"""The detector, which turns the outputs of a network at each hop of a stream into detections.

A hop is the time from one output to the next. The module needs only NumPy.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatesearch.errors import DataError, unknown
from gatesearch.metrics.streams.events import Detection

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class DetectorSettings:
    """The settings with which a detector turns outputs into detections.

    Args:
        classes: names of the network's outputs, in order.
        positives: names of the classes that are reported.
        hop_s: length of a hop in seconds.
        smoothing: number of outputs in the moving mean; outputs before the stream count as zeros.
        threshold: the value that a smoothed output has to exceed: one number, or one for each of ``positives``.
        hits: number of hops in a row at which a smoothed output has to exceed the threshold.
        refractory_s: least time in seconds from a detection to the next one, of any class.
        first_s: time in seconds at which the first hop's window ends; None for one hop after the start of the stream.

    Raises:
        UserError: one of ``positives`` is not among the classes.
        DataError: another value is not valid.

    >>> DetectorSettings(classes=("stop", "noise"), positives=("stopp",), hop_s=0.02)
    Traceback (most recent call last):
    ...
    gatesearch.errors.UserError: detector: positives: unknown class 'stopp'; nearest: 'stop' (choices: stop, noise)
    """

    classes: tuple[str, ...]
    positives: tuple[str, ...]
    hop_s: float
    smoothing: int = 1
    threshold: float | tuple[float, ...] = 0.5
    hits: int = 1
    refractory_s: float = 1.0
    first_s: float | None = None

    def __post_init__(self) -> None:
        """Check the classes, the times and the thresholds."""
        for name in self.positives:
            if name not in self.classes:
                raise unknown("detector: positives", "class", name, self.classes)
        if not self.positives or len(set(self.positives)) < len(self.positives):
            raise DataError(f"detector: positives: {list(self.positives)}; wanted: one class at least, each once")
        _check(self.hop_s > 0 and math.isfinite(self.hop_s), "hop_s", self.hop_s, "a time above 0")
        _check(self.smoothing >= 1, "smoothing", self.smoothing, "a whole number from 1")
        _check(self.hits >= 1, "hits", self.hits, "a whole number from 1")
        refractory = self.refractory_s >= 0 and math.isfinite(self.refractory_s)
        _check(refractory, "refractory_s", self.refractory_s, "a time from 0")
        thresholds = self.threshold if isinstance(self.threshold, tuple) else (self.threshold,)
        count = len(thresholds) == len(self.positives) or not isinstance(self.threshold, tuple)
        _check(count, "threshold", list(thresholds), f"one number, or {len(self.positives)} for the positives")
        # A hop that a gate stops counts as zeros. With a threshold of at least 0, these zeros are no detection.
        finite = all(value >= 0 and math.isfinite(value) for value in thresholds)
        _check(finite, "threshold", self.threshold, "from 0, so that a hop that a gate stops is no detection")

    @property
    def refractory_hops(self) -> int:
        """Least number of hops from a detection to the next one."""
        # A rounding error may make the quotient slightly larger than a whole number n of hops. Subtracting the small
        # number keeps ``ceil`` from returning n + 1.
        return max(1, math.ceil(self.refractory_s / self.hop_s - 1e-9))

    @property
    def columns(self) -> list[int]:
        """Indices of the positives among the network's outputs."""
        return [self.classes.index(name) for name in self.positives]

    def time_s(self, hop: int) -> float:
        """Return the time in seconds at which the window of a hop ends; the first hop is 0."""
        return (self.hop_s if self.first_s is None else self.first_s) + hop * self.hop_s


@dataclass(slots=True)
class Detector:
    """Turns a network's outputs into detections: moving mean, threshold, hits in a row, refractory time, in this order.

    The confidence of a class at a hop is the smallest of its smoothed outputs over the last ``hits`` hops. It exceeds
    the threshold if and only if all of these outputs do. If several classes exceed their threshold at a hop, the class
    with the largest confidence is reported. If confidences are equal, the first of these classes is reported.

    A hop that a gate stops has no output. It counts as zeros for all positives, because a stopped window is answered as
    a negative. Such zeros lower the mean and end a row of hits. They do not reset the refractory time.

    :meth:`push` processes one hop, and :meth:`detect` processes a whole recording. The two methods compute the same
    values bit for bit.

    Args:
        settings: the settings of the detector.

    >>> settings = DetectorSettings(("stop", "noise"), ("stop",), hop_s=0.5, smoothing=2, threshold=0.6)
    >>> detector = Detector(settings)
    >>> outputs = np.array([[0.9, 0.1], [0.7, 0.3], [0.1, 0.9]])
    >>> [detector.push(row) for row in outputs][1]
    Detection(label='stop', time_s=1.0, confidence=0.8)
    >>> detector.detect(outputs)
    [Detection(label='stop', time_s=1.0, confidence=0.8)]
    """

    settings: DetectorSettings
    _outputs: Array = field(init=False, repr=False)
    _smoothed: Array = field(init=False, repr=False)
    _hop: int = field(init=False, repr=False)
    _next_hop: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Clear the state; the next hop is the first one of a stream."""
        count = len(self.settings.positives)
        self._outputs = np.zeros((self.settings.smoothing, count))
        self._smoothed = np.zeros((self.settings.hits, count))
        self._hop = 0
        self._next_hop = 0

    def push(self, posteriors: Array | Sequence[float] | None) -> Detection | None:
        """Read the outputs of one hop, [classes], or None if a gate stopped the hop; return the detection, if any.

        Raises:
            DataError: the number of outputs is wrong, or an output is not finite.
        """
        settings = self.settings
        row = np.zeros(len(settings.classes)) if posteriors is None else np.asarray(posteriors)
        outputs = positive_outputs(row[None], settings)[0]
        self._outputs = np.concatenate([self._outputs[1:], outputs[None]])
        self._smoothed = np.concatenate([self._smoothed[1:], _mean(self._outputs, settings.smoothing)])
        confidence = _least(self._smoothed, settings.hits)
        hop, self._hop = self._hop, self._hop + 1
        score, winner = best_class(confidence, settings)
        if hop < self._next_hop or score[0] == -np.inf:
            return None
        self._next_hop = hop + settings.refractory_hops
        return Detection(settings.positives[winner[0]], settings.time_s(hop), float(score[0]))

    def push_hops(self, posteriors: Array, stopped: Array) -> list[Detection]:
        """Read hops that follow each other; return their detections, and change the state as :meth:`push` does.

        Args:
            posteriors: outputs of every hop, [n, classes], n from 1; outputs of stopped hops are not read.
            stopped: whether a gate stopped each hop, [n].

        Raises:
            DataError: a shape is wrong, or an output is not finite.
        """
        settings = self.settings
        outputs = np.concatenate([self._outputs[1:], positive_outputs(posteriors, settings, stopped)])
        smoothed = np.concatenate([self._smoothed[1:], _mean(outputs, settings.smoothing)])
        self._outputs, self._smoothed = outputs[-settings.smoothing :], smoothed[-settings.hits :]
        score, winner = best_class(_least(smoothed, settings.hits), settings)
        first, self._hop = self._hop, self._hop + len(posteriors)
        hops = np.flatnonzero(score > -np.inf)
        hops = spaced_hops(hops[hops + first >= self._next_hop], settings.refractory_hops)
        if len(hops):
            self._next_hop = first + int(hops[-1]) + settings.refractory_hops
        return [
            Detection(settings.positives[winner[hop]], settings.time_s(first + hop), float(score[hop]))
            for hop in hops.tolist()
        ]

    def detect(self, posteriors: Array, stopped: Array | None = None) -> list[Detection]:
        """Return the detections of a recording from its start; the state of :meth:`push` does not change.

        Args:
            posteriors: outputs of every hop, [hops, classes].
            stopped: whether a gate stopped each hop, [hops]; outputs of stopped hops are not read.

        Raises:
            DataError: a shape is wrong, or an output is not finite.
        """
        settings = self.settings
        score, winner = best_class(confidences(posteriors, settings, stopped), settings)
        hops = spaced_hops(np.flatnonzero(score > -np.inf), settings.refractory_hops)
        return [
            Detection(settings.positives[winner[hop]], settings.time_s(hop), float(score[hop])) for hop in hops.tolist()
        ]


def positive_outputs(posteriors: Array, settings: DetectorSettings, stopped: Array | None = None) -> Array:
    """Return the outputs of the positives in double precision, [hops, positives], with zeros at stopped hops.

    Raises:
        DataError: a shape is wrong, or an output is not finite.
    """
    if posteriors.ndim != 2 or posteriors.shape[1] != len(settings.classes):
        raise DataError(
            f"detector: outputs {list(posteriors.shape)}; wanted: [hops, {len(settings.classes)}] for the classes "
            f"{', '.join(settings.classes)}"
        )
    outputs = posteriors[:, settings.columns].astype(float)
    if stopped is not None:
        if stopped.shape != (len(posteriors),):
            raise DataError(f"detector: stopped {list(stopped.shape)}; wanted: [{len(posteriors)}] as there are hops")
        outputs[stopped.astype(bool)] = 0.0
    if not np.isfinite(outputs).all():
        hop = int(np.flatnonzero(~np.isfinite(outputs).all(1))[0])
        raise DataError(f"detector: the outputs of hop {hop} are not finite")
    return outputs


def confidences(posteriors: Array, settings: DetectorSettings, stopped: Array | None = None) -> Array:
    """Return the confidence of each positive at each hop of a recording, [hops, positives].

    :class:`Detector` defines the confidence. It depends on ``smoothing`` and ``hits``, but not on the threshold.
    """
    return confidences_of(positive_outputs(posteriors, settings, stopped), settings)


def confidences_of(outputs: Array, settings: DetectorSettings) -> Array:
    """Return the confidences at each hop, [hops, positives], from the outputs of the positives, [hops, positives].

    Outputs before the first hop count as zeros.
    """
    history = np.zeros((settings.smoothing - 1, outputs.shape[1]))
    smoothed = _mean(np.concatenate([history, outputs]), settings.smoothing)
    history = np.zeros((settings.hits - 1, outputs.shape[1]))
    return _least(np.concatenate([history, smoothed]), settings.hits)


def best_class(confidence: Array, settings: DetectorSettings) -> tuple[Array, Array]:
    """Return, for each hop, the largest confidence that exceeds its threshold and the index of its positive, [hops].

    The confidence is -inf at hops where none exceeds its threshold.
    """
    above = np.where(confidence > np.asarray(settings.threshold), confidence, -np.inf)
    return above.max(1), above.argmax(1)


def spaced_hops(hops: Array, spacing: int) -> Array:
    """Return a subset of ascending hops [n]: the first one, then each that lies ``spacing`` or more after the last.

    >>> spaced_hops(np.array([3, 4, 6, 7, 12]), 3).tolist()
    [3, 6, 12]
    """
    if spacing <= 1:
        return hops
    rising, chosen, index = hops.tolist(), [], 0
    while index < len(rising):
        chosen.append(index)
        # Hops are ascending integers, so the next one in the subset is at most `spacing` entries ahead.
        last = min(index + spacing, len(rising))
        index = bisect_left(rising, rising[index] + spacing, index + 1, last)
    return hops[chosen]


def _mean(outputs: Array, count: int) -> Array:
    """Return the mean of every ``count`` consecutive rows, [rows - count + 1, positives].

    The sum always starts at the oldest row, so that results for one hop and for a recording round alike.
    """
    rows = len(outputs) - count + 1
    total = outputs[:rows].copy()
    for start in range(1, count):
        total += outputs[start : start + rows]
    return total / count


def _least(smoothed: Array, count: int) -> Array:
    """Return the minimum of every ``count`` consecutive rows, [rows - count + 1, positives]."""
    rows = len(smoothed) - count + 1
    least = smoothed[:rows].copy()
    for start in range(1, count):
        np.minimum(least, smoothed[start : start + rows], out=least)
    return least


def _check(holds: bool, name: str, value: object, valid: str) -> None:
    if not holds:
        raise DataError(f"detector: {name}: {value!r}; wanted: {valid}")
