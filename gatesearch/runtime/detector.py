"""The detector: from the outputs of a network, hop by hop, to detections. Numpy alone."""

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
    """What makes a detection of a network's outputs.

    Args:
        classes: names of the network's outputs, in order.
        positives: the classes that are reported.
        hop_s: seconds from one output to the next.
        smoothing: outputs in the mean; before the stream there were zeros.
        threshold: what a smoothed output has to exceed: one number, or one for each of ``positives``.
        hits: hops in a row on which it has to.
        refractory_s: after a detection, of any class, the next comes so much later at the earliest.
        first_s: the end of the first hop's window; None is one hop after the start of the stream.

    Raises:
        DataError: a value that cannot be.

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
        # A hop that a gate stops pushes zeros, which must not make a detection.
        finite = all(value >= 0 and math.isfinite(value) for value in thresholds)
        _check(finite, "threshold", self.threshold, "from 0, so that a hop that a gate stops is no detection")

    @property
    def refractory_hops(self) -> int:
        """Hops from a detection to the earliest next one."""
        # A time of so many hops up to rounding is so many hops.
        return max(1, math.ceil(self.refractory_s / self.hop_s - 1e-9))

    @property
    def columns(self) -> list[int]:
        """The positives among the network's outputs, by index."""
        return [self.classes.index(name) for name in self.positives]

    def time_s(self, hop: int) -> float:
        """Return the end of a hop's window, hops counted from 0."""
        return (self.hop_s if self.first_s is None else self.first_s) + hop * self.hop_s


@dataclass(slots=True)
class Detector:
    """Makes detections of a network's outputs, in this order: mean, threshold, hits in a row, refractory time.

    The confidence of a class at a hop is the least of its smoothed outputs over the last ``hits`` hops: all of them
    exceed the threshold if and only if it does. Where several classes do at one hop, the one with the largest
    confidence is reported, the first of them where they are equal.

    A hop that a gate stops has no output. It counts as zeros for all positives, the plan's own answer for a window that
    leaves at a gate: it pulls the mean down and ends a row of hits, but does not reset the refractory time.

    :meth:`push` takes one hop, :meth:`detect` a whole recording; they agree to the last bit.

    Args:
        settings: see :class:`DetectorSettings`.

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
        """Forget the stream; the next hop is the first one."""
        count = len(self.settings.positives)
        self._outputs = np.zeros((self.settings.smoothing, count))
        self._smoothed = np.zeros((self.settings.hits, count))
        self._hop = 0
        self._next_hop = 0

    def push(self, posteriors: Array | Sequence[float] | None) -> Detection | None:
        """Take the outputs of one hop, [classes], or None where a gate stopped it; return a detection if there is one.

        Raises:
            DataError: another number of outputs, or one that is not finite.
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

    def detect(self, posteriors: Array, stopped: Array | None = None) -> list[Detection]:
        """Return the detections of a recording from its start; the state of :meth:`push` stays as it is.

        Args:
            posteriors: outputs of every hop, [hops, classes].
            stopped: whether a gate stopped each hop, [hops]; its outputs are not read then.

        Raises:
            DataError: another shape, or an output that is not finite.
        """
        settings = self.settings
        score, winner = best_class(confidences(posteriors, settings, stopped), settings)
        hops = spaced_hops(np.flatnonzero(score > -np.inf), settings.refractory_hops)
        return [
            Detection(settings.positives[winner[hop]], settings.time_s(hop), float(score[hop])) for hop in hops.tolist()
        ]


def positive_outputs(posteriors: Array, settings: DetectorSettings, stopped: Array | None = None) -> Array:
    """Return the outputs of the positives in double precision, [hops, positives], zeros where a gate stopped.

    Raises:
        DataError: another shape, or an output that is not finite.
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
    """Return the confidence of each positive at each hop of a recording, [hops, positives]; see :class:`Detector`.

    It depends on the smoothing and the hits of the settings, and on no threshold.
    """
    outputs = positive_outputs(posteriors, settings, stopped)
    history = np.zeros((settings.smoothing - 1, outputs.shape[1]))
    smoothed = _mean(np.concatenate([history, outputs]), settings.smoothing)
    history = np.zeros((settings.hits - 1, outputs.shape[1]))
    return _least(np.concatenate([history, smoothed]), settings.hits)


def best_class(confidence: Array, settings: DetectorSettings) -> tuple[Array, Array]:
    """Return the largest confidence above its threshold, -inf where none is, and its positive, each [hops]."""
    above = np.where(confidence > np.asarray(settings.threshold), confidence, -np.inf)
    return above.max(1), above.argmax(1)


def spaced_hops(hops: Array, spacing: int) -> Array:
    """Return those of rising hops [n] that lie ``spacing`` or more behind the last one returned, from the first on.

    >>> spaced_hops(np.array([3, 4, 6, 7, 12]), 3).tolist()
    [3, 6, 12]
    """
    if spacing <= 1:
        return hops
    rising, chosen, index = hops.tolist(), [], 0
    while index < len(rising):
        chosen.append(index)
        # The next is at most `spacing` entries ahead: hops are whole numbers that rise.
        last = min(index + spacing, len(rising))
        index = bisect_left(rising, rising[index] + spacing, index + 1, last)
    return hops[chosen]


def _mean(outputs: Array, count: int) -> Array:
    """Return the mean of each ``count`` rows in a row, [rows - count + 1, positives], summed from the oldest on.

    The order of the sum is the same for one row as for many, so that both round alike.
    """
    rows = len(outputs) - count + 1
    total = outputs[:rows].copy()
    for start in range(1, count):
        total += outputs[start : start + rows]
    return total / count


def _least(smoothed: Array, count: int) -> Array:
    """Return the least of each ``count`` rows in a row, [rows - count + 1, positives]."""
    rows = len(smoothed) - count + 1
    least = smoothed[:rows].copy()
    for start in range(1, count):
        np.minimum(least, smoothed[start : start + rows], out=least)
    return least


def _check(holds: bool, name: str, value: object, valid: str) -> None:
    if not holds:
        raise DataError(f"detector: {name}: {value!r}; wanted: {valid}")
