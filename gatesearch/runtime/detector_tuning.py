"""Tunes a detector on validation streams: its DET curve, threshold, smoothing and hits in a row.

The DET curve (detection error trade-off) gives the miss rate over the false accepts per hour. Test streams are read
only with the tuned settings.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatesearch.errors import DataError
from gatesearch.metrics.streams.counting import GATESEARCH, Counting
from gatesearch.metrics.streams.det import DetCurve, OperatingPoint
from gatesearch.metrics.streams.events import Event
from gatesearch.metrics.streams.matching import EventTimes, match_times
from gatesearch.runtime.detector import DetectorSettings, confidences, spaced_hops

Array = NDArray[Any]

CURVE_POINTS = 200
SMOOTHING_CHOICES = (1, 3, 5, 10)
HITS_CHOICES = (1, 2, 3)


@dataclass(frozen=True, slots=True)
class SceneOutputs:
    """The outputs of a network on a labelled stream.

    Args:
        posteriors: outputs of every hop, [hops, classes].
        events: the events in the stream.
        stopped: whether a gate stopped each hop, [hops]; None if there is no gate.
    """

    posteriors: Array
    events: Sequence[Event]
    stopped: Array | None = None


@dataclass(frozen=True, slots=True)
class TunedDetector:
    """The settings with the fewest misses at a target rate of false accepts, with their figures on validation.

    Args:
        settings: the settings, with tuned smoothing, hits and threshold.
        point: threshold, false accepts per hour and miss rate.
        target_fa_per_hour: largest allowed number of false accepts per hour.
    """

    settings: DetectorSettings
    point: OperatingPoint
    target_fa_per_hour: float


class _Scores:
    """The confidences of all scenes, computed once, from which detections at any threshold are counted."""

    def __init__(self, scenes: Sequence[SceneOutputs], settings: DetectorSettings, counting: Counting) -> None:
        labels = {name: index for index, name in enumerate(settings.positives)}
        other = len(labels)  # label of events whose class the detector does not report; they are always missed
        self.settings, self.counting = settings, counting
        self.scenes: list[tuple[Array, Array, EventTimes]] = []
        for scene in scenes:
            confidence = confidences(scene.posteriors, settings, scene.stopped)
            numbers = labels | {event.label: other for event in scene.events if event.label not in labels}
            # A threshold is never below 0, so a confidence below 0 counts as 0.
            self.scenes.append(
                (np.maximum(confidence.max(1), 0), confidence.argmax(1), EventTimes.read(scene.events, numbers))
            )
        self.hours = sum(len(score) for score, _, _ in self.scenes) * settings.hop_s / 3600
        self.events = sum(len(events.starts) for _, _, events in self.scenes)

    def levels(self) -> Array:
        """Return the distinct confidences in ascending order; thresholds lie between them."""
        return np.unique(np.concatenate([score for score, _, _ in self.scenes]))

    def count(self, threshold: float) -> tuple[int, int]:
        """Return the number of false accepts and the number of misses at a threshold."""
        false_accepts = misses = 0
        for score, winner, events in self.scenes:
            hops = spaced_hops(np.flatnonzero(score > threshold), self.settings.refractory_hops)
            result = match_times(
                events, self.settings.time_s(0) + hops * self.settings.hop_s, winner[hops], self.counting
            )
            false_accepts += result.false_accepts
            misses += result.misses(self.counting)
        return false_accepts, misses

    def curve(self, thresholds: Sequence[float]) -> DetCurve:
        """Return the curve at ascending thresholds."""
        counts = np.array([self.count(threshold) for threshold in thresholds], float).reshape(-1, 2)
        return DetCurve(
            thresholds=np.array(thresholds),
            fa_per_hour=counts[:, 0] / self.hours,
            miss_rates=counts[:, 1] / max(self.events, 1),
            hours=self.hours,
            events=self.events,
        )


def det_curve(
    scenes: Sequence[SceneOutputs],
    settings: DetectorSettings,
    counting: Counting = GATESEARCH,
    points: int = CURVE_POINTS,
) -> DetCurve:
    """Return the DET curve of a detector, with one threshold for all positives.

    Each threshold lies halfway between two neighbouring confidences, or above the largest one. Thresholds are dense
    where detections are rare: from point to point, the number of confidences above the threshold falls by the same
    factor. A curve over 180,000 hops of twelve classes takes about a second.

    Args:
        scenes: labelled streams with the network's outputs.
        settings: the settings of the detector; their threshold is not read.
        counting: the rule that defines hits and false accepts.
        points: largest number of thresholds.

    Raises:
        DataError: there are no hops.

    >>> settings = DetectorSettings(("stop",), ("stop",), hop_s=1.0, refractory_s=1.0)
    >>> scene = SceneOutputs(np.array([[0.1], [0.9], [0.1], [0.6], [0.1]]), [Event("stop", 1.0, 2.0)])
    >>> curve = det_curve([scene], settings)
    >>> curve.thresholds.round(3).tolist(), curve.miss_rates.tolist()
    ([0.35, 0.75, 1.05], [0.0, 0.0, 1.0])
    >>> curve.fa_per_hour.tolist()
    [720.0, 0.0, 0.0]
    """
    scores = _score(scenes, settings, counting)
    levels = scores.levels()
    return scores.curve([_above(levels, rank) for rank in _ranks(len(levels), points).tolist()])


def set_threshold(
    scenes: Sequence[SceneOutputs],
    settings: DetectorSettings,
    fa_per_hour: float,
    counting: Counting = GATESEARCH,
    points: int = CURVE_POINTS,
) -> TunedDetector:
    """Return a detector with the lowest threshold from which on all thresholds keep a rate of false accepts.

    A first curve finds two neighbouring points: one that breaks the rate and one that keeps it. Further curves refine
    the range between them, until no confidence lies between the two.

    Args:
        scenes: validation streams.
        settings: the settings of the detector; their threshold is not read.
        fa_per_hour: largest allowed number of false accepts per hour.
        counting: the rule that defines hits and false accepts.
        points: number of thresholds to try at a time. With few of them, tuning is fast, but a short range of higher
            thresholds that break the rate may be overlooked.

    Raises:
        DataError: there are no hops, or the rate is below 0.

    >>> settings = DetectorSettings(("stop",), ("stop",), hop_s=1.0, refractory_s=1.0)
    >>> scene = SceneOutputs(np.array([[0.1], [0.9], [0.1], [0.6], [0.1]]), [Event("stop", 1.0, 2.0)])
    >>> set_threshold([scene], settings, fa_per_hour=0.0).settings.threshold
    0.75
    """
    scores = _score(scenes, settings, counting)
    if not fa_per_hour >= 0:
        raise DataError(f"detector: {fa_per_hour} false accepts an hour; wanted: from 0")
    levels = scores.levels()
    # `low` and `high` are ranks of confidences. The threshold next above `low` breaks the rate, and the threshold next
    # above `high` keeps it. -1 means that no threshold has broken the rate so far.
    low, high = -1, len(levels) - 1
    while high - low > 1:
        # The loop goes down from the largest threshold and ends at the first one that breaks the rate. So it skips low
        # thresholds, which take longest because they have most detections.
        for rank in reversed((low + 1 + _ranks(high - low, points)).tolist()):
            if scores.count(_above(levels, rank))[0] / scores.hours > fa_per_hour:
                low = rank
                break
            high = rank
    point = scores.curve([_above(levels, high)]).operating_point(np.inf)
    return TunedDetector(replace(settings, threshold=point.threshold), point, fa_per_hour)


def tune_detector(
    scenes: Sequence[SceneOutputs],
    settings: DetectorSettings,
    fa_per_hour: float,
    smoothing: Sequence[int] = SMOOTHING_CHOICES,
    hits: Sequence[int] = HITS_CHOICES,
    counting: Counting = GATESEARCH,
    points: int = CURVE_POINTS,
) -> TunedDetector:
    """Choose smoothing, hits in a row and threshold with the lowest miss rate at a target rate of false accepts.

    Of equal miss rates, the choice with the smaller sum of smoothing and hits wins, since both add latency.

    Args:
        scenes: validation streams.
        settings: the settings of the detector; their smoothing, hits and threshold are not read.
        fa_per_hour: largest allowed number of false accepts per hour.
        smoothing: values of ``smoothing`` to try.
        hits: values of ``hits`` to try with each smoothing.
        counting: the rule that defines hits and false accepts.
        points: number of thresholds to try at a time; see :func:`set_threshold`.

    Raises:
        DataError: there are no hops, or the rate is below 0.
    """
    pairs = sorted(itertools.product(smoothing, hits), key=sum)
    tuned = [
        set_threshold(scenes, replace(settings, smoothing=mean, hits=row), fa_per_hour, counting, points)
        for mean, row in pairs
    ]
    return min(tuned, key=lambda choice: choice.point.miss_rate)


def _score(scenes: Sequence[SceneOutputs], settings: DetectorSettings, counting: Counting) -> _Scores:
    if not sum(len(scene.posteriors) for scene in scenes):
        raise DataError("detector: no hop to set a threshold on; wanted: one scene at least")
    return _Scores(scenes, replace(settings, threshold=0.0), counting)


def _ranks(count: int, points: int) -> Array:
    """Return up to ``points`` ascending integers below ``count``, denser towards ``count``.

    >>> _ranks(4, 10).tolist()
    [0, 1, 2, 3]
    """
    above = np.unique(np.geomspace(1, count, points).round().astype(int)) - 1
    return (count - 1 - above)[::-1]


def _above(values: Array, rank: int) -> float:
    """Return the threshold halfway between the value of a rank and the next one.

    Above the largest value, it is higher by half the distance between the two largest values.
    """
    if rank + 1 < len(values):
        return float(values[rank] + (values[rank + 1] - values[rank]) / 2)
    step = values[-1] - values[-2] if len(values) > 1 else 1.0
    return float(values[-1] + step / 2)
