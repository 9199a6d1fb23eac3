"""Matches the detections of a detector with the events of a labelled stream, under a counting rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatesearch.metrics.streams.counting import Counting
from gatesearch.metrics.streams.events import Detection, Event

Array = NDArray[Any]

REPEAT = -1  # role of a detection that repeats an earlier one
FALSE_ACCEPT = -2  # role of a detection that is a false accept
ROUNDING_S = 1e-9  # tolerance of comparisons, since times are sums and products of floats


@dataclass(frozen=True, slots=True)
class Match:
    """The role of each detection of a stream, and the detection of each event.

    Args:
        event_hits: for each event, the index of its first detection, or -1 if it has none, [events].
        roles: for each detection, the index of the event that it hits, :data:`REPEAT` or :data:`FALSE_ACCEPT`,
            [detections].
    """

    event_hits: Array
    roles: Array

    @property
    def hits(self) -> int:
        """Number of detections that hit an event."""
        return int((self.roles >= 0).sum())

    @property
    def false_accepts(self) -> int:
        """Number of detections that are false accepts."""
        return int((self.roles == FALSE_ACCEPT).sum())

    def misses(self, counting: Counting) -> int:
        """Return the number of events that count as missed under a rule.

        With matching ``"each"``, a second hit on an event counts like a hit on another event, as in Picovoice's
        benchmark.
        """
        if counting.matching == "each":
            return max(len(self.event_hits) - self.hits, 0)
        return int((self.event_hits < 0).sum())


def match(events: Sequence[Event], detections: Sequence[Detection], counting: Counting) -> Match:
    """Match detections with events under a rule; events and detections may be in any order.

    >>> from gatesearch.metrics.streams import GATESEARCH, Detection, Event
    >>> events = [Event("stop", 1.0, 1.6), Event("stop", 8.0, 8.5)]
    >>> match(events, [Detection("stop", 1.9, 0.8), Detection("go", 8.2, 0.7)], GATESEARCH)
    Match(event_hits=array([ 0, -1]), roles=array([ 0, -2]))
    """
    names = {event.label for event in events} | {detection.label for detection in detections}
    labels = {label: index for index, label in enumerate(sorted(names))}
    return match_times(
        EventTimes.read(events, labels),
        np.array([each.time_s for each in detections], float),
        np.array([labels[each.label] for each in detections], int),
        counting,
    )


@dataclass(frozen=True, slots=True)
class EventTimes:
    """Events as arrays [events], built once and matched at many thresholds."""

    starts: Array
    ends: Array
    labels: Array

    @classmethod
    def read(cls, events: Sequence[Event], labels: dict[str, int]) -> EventTimes:
        """Build the arrays from events; ``labels`` gives the number of each label."""
        return cls(
            np.array([event.start_s for event in events], float),
            np.array([event.end_s for event in events], float),
            np.array([labels[event.label] for event in events], int),
        )


def match_times(events: EventTimes, times: Array, labels: Array, counting: Counting) -> Match:
    """Match detections with events, as :func:`match` does, but on arrays.

    Args:
        events: the events.
        times: time of each detection in seconds, [detections].
        labels: number of the class of each detection, [detections].
        counting: the counting rule.
    """
    order = np.argsort(times, kind="stable")
    event_hits = np.full(len(events.starts), -1)
    roles = np.full(len(times), FALSE_ACCEPT)
    for label in np.unique(events.labels):
        own = order[labels[order] == label]
        candidates = np.flatnonzero(events.labels == label)
        if counting.matching == "first" and (pairs := _assign_disjoint(candidates, events, times[own], counting)):
            hit, first = pairs
            event_hits[hit], roles[own[first]] = own[first], hit
            assignments = []
        else:
            assignments = _assign(candidates, events, times[own], counting)
        for event, indices in assignments:
            first, rest = own[indices[0]], own[indices[1:]]
            event_hits[event], roles[first] = first, event
            roles[rest] = event if counting.matching == "each" else REPEAT
        if counting.matching == "first":
            roles[own] = _mark_repeats(roles[own], times[own], counting.repeat_s)
    _debounce(order, times, counting.debounce_s, roles)
    return Match(event_hits, roles)


def _assign_disjoint(own: Array, events: EventTimes, times: Array, counting: Counting) -> tuple[Array, Array] | None:
    """Return, as indices, those events of ``own`` that have a detection, and the first detection of each.

    The result is that of :func:`_assign` for matching ``"first"``, but without a loop over events. It is None if two
    events could claim the same detection.
    """
    ordered = own[np.argsort(events.starts[own], kind="stable")]
    lows = np.searchsorted(times, events.starts[ordered] - ROUNDING_S, "left")
    highs = np.searchsorted(times, events.ends[ordered] + counting.tolerance_s + ROUNDING_S, "right")
    some = highs > lows
    lows, highs = lows[some], highs[some]
    if (highs[:-1] > lows[1:]).any():
        return None
    return ordered[some], lows


def _assign(own: Array, events: EventTimes, times: Array, counting: Counting) -> list[tuple[int, list[int]]]:
    """Assign detections at ascending ``times`` to the events ``own`` of the same class.

    With matching ``"first"``, events choose in the order of their ends, and each takes its earliest free detection.
    This greedy choice gives a detection to as many events as possible, also where events overlap. With the other
    matchings, events choose in the order of their starts, as the published rules do, and each takes all its free
    detections.

    Returns:
        Pairs of an event and its detections, as indices; only events with a detection.
    """
    takes_one = counting.matching == "first"
    keys = (events.starts, events.ends) if takes_one else (events.ends, events.starts)
    in_order = own[np.lexsort([key[own] for key in keys])]
    last_s = events.ends[in_order] + counting.tolerance_s + ROUNDING_S
    lows = np.searchsorted(times, events.starts[in_order] - ROUNDING_S, "left").tolist()
    highs = np.searchsorted(times, last_s, "right").tolist()
    free = [True] * len(times)
    assignments = []
    for event, low, high in zip(in_order.tolist(), lows, highs, strict=True):
        inside = [index for index in range(low, high) if free[index]]
        chosen = inside[:1] if takes_one else inside
        for index in chosen:
            free[index] = False
        if chosen:
            assignments.append((event, chosen))
    return assignments


def _mark_repeats(roles: Array, times: Array, repeat_s: float) -> Array:
    """Return the roles of one class's detections at ascending ``times``; a false accept soon after a hit is a repeat.

    This runs after all events have their detections: a detection soon after a hit may be the hit of a second event.
    """
    hit_times = np.concatenate([[-np.inf], times[roles >= 0]])
    since = times - hit_times[np.searchsorted(hit_times, times, "right") - 1]
    return np.where((roles == FALSE_ACCEPT) & (since <= repeat_s + ROUNDING_S), REPEAT, roles)


def _debounce(order: Array, times: Array, debounce_s: float, roles: Array) -> None:
    """Make a false accept a repeat if it comes within ``debounce_s`` after a counted false accept; in place."""
    if debounce_s <= 0:
        return
    counted_s = -np.inf
    for index in order[roles[order] == FALSE_ACCEPT]:
        if times[index] - counted_s <= debounce_s + ROUNDING_S:
            roles[index] = REPEAT
        else:
            counted_s = times[index]
