"""Counts hits, misses and false accepts of a detector on one scene, which is a labelled stream.

Counts of several scenes can be added; rates cannot. So each scene is counted by itself, and
:func:`gatesearch.metrics.streams.figures.stream_figures` computes the figures of all scenes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatesearch.errors import DataError
from gatesearch.metrics.streams.counting import GATESEARCH, Counting
from gatesearch.metrics.streams.events import Background, Detection, Event
from gatesearch.metrics.streams.matching import FALSE_ACCEPT, ROUNDING_S, match

SNR_BAND_DB = 5  # width of a band of signal-to-noise ratios
UNKNOWN = "unknown"

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class SceneCounts:
    """The counts of one scene under one rule.

    A band is a range of an event's level over the background, such as ``"5 to 10 dB"``.

    Args:
        hours: length of the scene in hours.
        events: number of events.
        misses: number of missed events.
        false_accepts: number of false accepts.
        gate_misses: number of misses for which the gates passed no window that holds the event; None if it is unknown.
        latencies_s: for each detected event, the time in seconds from its end to the detection; negative for a
            detection before the end.
        events_by_background: number of events at each kind of background.
        misses_by_background: number of missed events at each kind of background.
        false_accepts_by_background: number of false accepts at each kind of background.
        hours_by_background: length of the labelled stretches of each kind of background, in hours.
        events_by_snr: number of events in each band.
        misses_by_snr: number of missed events in each band.
        false_accepts_by_snr: number of false accepts inside an event of any class, by the band of that event; the
            number of false accepts outside events is under ``"no event"``.
    """

    hours: float
    events: int
    misses: int
    false_accepts: int
    gate_misses: int | None
    latencies_s: tuple[float, ...]
    events_by_background: Mapping[str, int] = field(default_factory=dict)
    misses_by_background: Mapping[str, int] = field(default_factory=dict)
    false_accepts_by_background: Mapping[str, int] = field(default_factory=dict)
    hours_by_background: Mapping[str, float] = field(default_factory=dict)
    events_by_snr: Mapping[str, int] = field(default_factory=dict)
    misses_by_snr: Mapping[str, int] = field(default_factory=dict)
    false_accepts_by_snr: Mapping[str, int] = field(default_factory=dict)


def count_scene(
    events: Sequence[Event],
    detections: Sequence[Detection],
    hours: float,
    counting: Counting = GATESEARCH,
    passed: Sequence[bool] | None = None,
    backgrounds: Sequence[Background] = (),
) -> SceneCounts:
    """Count hits, misses and false accepts of a detector on one scene.

    Args:
        events: the events of the scene.
        detections: the detections of the detector.
        hours: length of the scene in hours.
        counting: the counting rule.
        passed: whether the gates passed a window that holds each event, [events]; see :func:`events_passed`.
        backgrounds: the stretches of background; a false accept belongs to the first stretch in which it lies.

    Raises:
        DataError: the scene has no length, or ``passed`` has another length than ``events``.

    >>> from gatesearch.metrics.streams import Detection, Event
    >>> events = [Event("stop", 1.0, 1.6, snr_db=7.0), Event("stop", 8.0, 8.5, snr_db=12.0)]
    >>> counts = count_scene(events, [Detection("stop", 1.5, 0.8), Detection("stop", 5.0, 0.7)], hours=0.5)
    >>> counts.misses, counts.false_accepts, counts.misses_by_snr
    (1, 1, {'10 to 15 dB': 1})
    >>> [round(latency, 3) for latency in counts.latencies_s]
    [-0.1]
    """
    if not hours > 0:
        raise DataError(f"a scene of {hours} hours; wanted: more than 0")
    if passed is not None and len(passed) != len(events):
        raise DataError(f"passed: {len(passed)} values for {len(events)} events; wanted: as many")
    result = match(events, detections, counting)
    hits = result.event_hits.tolist()
    missed = [event for event, hit in zip(events, hits, strict=True) if hit < 0]
    false = [detection for detection, role in zip(detections, result.roles, strict=True) if role == FALSE_ACCEPT]
    latencies = [detections[hit].time_s - event.end_s for event, hit in zip(events, hits, strict=True) if hit >= 0]
    gate_misses = None if passed is None else sum(hit < 0 and not gate for hit, gate in zip(hits, passed, strict=True))
    hours_by_background: Counter[str] = Counter()
    for stretch in backgrounds:
        hours_by_background[stretch.kind] += (stretch.end_s - stretch.start_s) / 3600  # type: ignore[assignment]
    return SceneCounts(
        hours=hours,
        events=len(events),
        misses=result.misses(counting),
        false_accepts=len(false),
        gate_misses=gate_misses,
        latencies_s=tuple(latencies),
        events_by_background=dict(Counter(event.background or UNKNOWN for event in events)),
        misses_by_background=dict(Counter(event.background or UNKNOWN for event in missed)),
        false_accepts_by_background=dict(Counter(_kind(backgrounds, detection.time_s) for detection in false)),
        hours_by_background=dict(hours_by_background),
        events_by_snr=dict(Counter(snr_band(event.snr_db) for event in events)),
        misses_by_snr=dict(Counter(snr_band(event.snr_db) for event in missed)),
        false_accepts_by_snr=dict(Counter(_find_snr_band(events, detection.time_s) for detection in false)),
    )


def snr_band(snr_db: float | None) -> str:
    """Return the name of the band of a level over the background; a band is 5 dB wide.

    >>> snr_band(7.5), snr_band(-0.1), snr_band(None)
    ('5 to 10 dB', '-5 to 0 dB', 'unknown')
    """
    if snr_db is None:
        return UNKNOWN
    low = int(snr_db // SNR_BAND_DB) * SNR_BAND_DB
    return f"{low} to {low + SNR_BAND_DB} dB"


def events_passed(events: Sequence[Event], window_ends_s: Array, stopped: Array, window_s: float) -> list[bool]:
    """Return, for each event, whether the gates passed any window that holds it.

    A window holds an event that lies inside the window. A window also holds an event that is longer than the window, if
    the window lies inside the event. If no window holds an event, the window that holds most of it counts; see
    :func:`holding_hops`.

    Args:
        events: the events of the scene.
        window_ends_s: time in seconds at which each hop's window ends, ascending, [hops].
        stopped: whether a gate stopped each hop, [hops].
        window_s: length of a window in seconds.

    >>> ends = np.array([1.0, 1.5, 2.0])
    >>> events_passed([Event("stop", 0.6, 1.4)], ends, np.array([False, True, True]), window_s=1.0)
    [False]
    >>> events_passed([Event("stop", 0.6, 1.4)], ends, np.array([True, False, True]), window_s=1.0)
    [True]
    """
    firsts, ends = holding_hops(events, window_ends_s, window_s)
    passed = np.concatenate([[0], np.cumsum(~stopped.astype(bool))])
    return [bool(each) for each in passed[ends] > passed[firsts]]


def holding_hops(events: Sequence[Event], window_ends_s: Array, window_s: float) -> tuple[Array, Array]:
    """Return, for each event, the first hop whose window holds it, and the hop after the last one, [events] each.

    A window that ends at t holds the event [start, end] if end <= t <= start + window. It lies inside a longer event if
    start + window <= t <= end. An event of about the length of a window may lie between two hops, so that no window
    holds all of it. Then the window that holds most of the event counts.

    Args:
        events: the events of the scene.
        window_ends_s: time in seconds at which each hop's window ends, ascending, [hops].
        window_s: length of a window in seconds.

    >>> ends = np.array([1.0, 1.5, 2.0])
    >>> [each.tolist() for each in holding_hops([Event("stop", 0.2, 1.19), Event("stop", 0.6, 1.4)], ends, 1.0)]
    [[0, 1], [1, 2]]
    """
    # In both cases, t lies between the smaller and the larger of the two times start + window and end.
    bounds = np.sort([(event.start_s + window_s, event.end_s) for event in events], axis=-1).reshape(-1, 2)
    firsts = np.searchsorted(window_ends_s, bounds[:, 0] - ROUNDING_S, "left")
    ends = np.searchsorted(window_ends_s, bounds[:, 1] + ROUNDING_S, "right")
    if len(window_ends_s):
        # Where no t lies between the two times, the window with t nearest to their middle holds most of the event.
        middles = bounds.mean(1)
        nearest = np.abs(window_ends_s[_neighbours(window_ends_s, middles)] - middles[:, None]).argmin(1)
        nearest = _neighbours(window_ends_s, middles)[np.arange(len(middles)), nearest]
        empty = ends <= firsts
        firsts, ends = np.where(empty, nearest, firsts), np.where(empty, nearest + 1, ends)
    return firsts, np.maximum(firsts, ends)


def _neighbours(ends_s: Array, times_s: Array) -> Array:
    """Return the indices of the last end before each time and of the first one after it, [times, 2]."""
    after = np.searchsorted(ends_s, times_s)
    neighbours: Array = np.stack([after - 1, after], 1).clip(0, len(ends_s) - 1)
    return neighbours


def _kind(backgrounds: Sequence[Background], time_s: float) -> str:
    return next((each.kind for each in backgrounds if each.start_s <= time_s < each.end_s), UNKNOWN)


def _find_snr_band(events: Sequence[Event], time_s: float) -> str:
    around = [event for event in events if event.start_s <= time_s <= event.end_s]
    return snr_band(around[0].snr_db) if around else "no event"
