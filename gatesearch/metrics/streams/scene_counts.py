"""What a detector did on one labelled stream, counted: the values from which figures are made.

Counts of several scenes add up; rates do not. So scenes are counted one by one, and
:func:`gatesearch.metrics.streams.figures.stream_figures` makes the figures of all of them.
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

    Args:
        hours: length of the scene.
        events, misses, false_accepts: how many.
        gate_misses: misses for which no window that holds the event passed the gates; None where that is unknown.
        latencies_s: from the end of each event to its detection, negative before the end, [events with a detection].
        events_by_background, misses_by_background, false_accepts_by_background: by kind of background.
        hours_by_background: by kind, of the stretches that are labelled.
        events_by_snr, misses_by_snr: by band of the event's level over the background, such as ``"5 to 10 dB"``.
        false_accepts_by_snr: by the band of the event that the detection lies in, if it lies in one of any class.
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
    """Count what a detector did on one scene.

    Args:
        events: the events of the scene.
        detections: the detections of the detector.
        hours: length of the scene.
        counting: the rule.
        passed: of each event whether a window that holds it passed the gates, [events]; see :func:`events_passed`.
        backgrounds: what lies behind the events where; a false accept belongs to the first stretch that it lies in.

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
        false_accepts_by_snr=dict(Counter(_snr_there(events, detection.time_s) for detection in false)),
    )


def snr_band(snr_db: float | None) -> str:
    """Return the band of a level over the background, five decibels wide.

    >>> snr_band(7.5), snr_band(-0.1), snr_band(None)
    ('5 to 10 dB', '-5 to 0 dB', 'unknown')
    """
    if snr_db is None:
        return UNKNOWN
    low = int(snr_db // SNR_BAND_DB) * SNR_BAND_DB
    return f"{low} to {low + SNR_BAND_DB} dB"


def events_passed(events: Sequence[Event], window_ends_s: Array, stopped: Array, window_s: float) -> list[bool]:
    """Say of each event whether the gates passed any window that holds it.

    A window holds an event that lies inside it. One that is longer than a window is held by every window inside it.

    Args:
        events: the events of the scene.
        window_ends_s: the end of each hop's window in ascending order, [hops].
        stopped: whether a gate stopped each hop, [hops].
        window_s: length of a window.

    >>> ends = np.array([1.0, 1.5, 2.0])
    >>> events_passed([Event("stop", 0.6, 1.4)], ends, np.array([False, True, True]), window_s=1.0)
    [False]
    >>> events_passed([Event("stop", 0.6, 1.4)], ends, np.array([True, False, True]), window_s=1.0)
    [True]
    """
    open_ends_s = window_ends_s[~stopped.astype(bool)]
    bounds = [(event.start_s + window_s, event.end_s) for event in events]
    # A window that ends at t holds [start, end] if end <= t <= start + window; it lies inside of a long event if
    # start + window <= t <= end.
    lows = np.searchsorted(open_ends_s, [min(pair) - ROUNDING_S for pair in bounds], "left")
    highs = np.searchsorted(open_ends_s, [max(pair) + ROUNDING_S for pair in bounds], "right")
    return [bool(high > low) for low, high in zip(lows, highs, strict=True)]


def _kind(backgrounds: Sequence[Background], time_s: float) -> str:
    return next((each.kind for each in backgrounds if each.start_s <= time_s < each.end_s), UNKNOWN)


def _snr_there(events: Sequence[Event], time_s: float) -> str:
    there = [event for event in events if event.start_s <= time_s <= event.end_s]
    return snr_band(there[0].snr_db) if there else "no event"
