"""Finds the hops of a recording whose windows hold an event, and the hops at which a detector can detect the event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gatesearch.metrics.streams.counting import GATESEARCH, Counting
from gatesearch.metrics.streams.events import Event
from gatesearch.metrics.streams.matching import ROUNDING_S
from gatesearch.metrics.streams.scene_counts import holding_hops
from gatesearch.runtime.detector import Array, DetectorSettings, confidences_of


@dataclass(frozen=True, slots=True)
class EventHops:
    """The hops whose windows hold the events of a recording.

    A window holds an event that lies inside the window. An event that is longer than a window is held by every window
    that lies inside the event. See :func:`gatesearch.metrics.streams.scene_counts.holding_hops`.

    Args:
        hops: number of hops of the recording.
        firsts: for each event, the first hop whose window holds it, [events].
        ends: for each event, the hop after the last one whose window holds it, [events].
    """

    hops: int
    firsts: Array
    ends: Array

    @classmethod
    def find(cls, events: Sequence[Event], settings: DetectorSettings, hops: int) -> EventHops:
        """Return the hops whose windows hold events.

        Args:
            events: the events of the recording.
            settings: settings of the detector, which give the time at which each hop ends.
            hops: number of hops of the recording.

        >>> settings = DetectorSettings(("stop",), ("stop",), hop_s=0.5, first_s=1.0)
        >>> held = EventHops.find([Event("stop", 2.0, 2.4)], settings, hops=8)  # hop k ends at 1 + k / 2 seconds
        >>> held.mark().tolist()
        [False, False, False, True, True, False, False, False]
        """
        window_s = settings.time_s(0)
        return cls(hops, *holding_hops(events, window_s + settings.hop_s * np.arange(hops), window_s))

    def recall(self, stopped: Array) -> float:
        """Return the share of events that are held by at least one window that no gate stopped.

        ``stopped`` says whether a gate stopped each hop, [hops].
        """
        count = np.concatenate([[0], np.cumsum(~stopped)])
        passed = np.count_nonzero(count[self.ends] > count[self.firsts])
        return int(passed) / len(self.firsts) if len(self.firsts) else 1.0

    def mark(self) -> Array:
        """Return whether the window of each hop holds an event, [hops]."""
        steps = np.zeros(self.hops + 1, int)
        np.add.at(steps, self.firsts, 1)
        np.add.at(steps, self.ends, -1)
        marks: Array = np.cumsum(steps)[:-1] > 0
        return marks


@dataclass(frozen=True, slots=True)
class EventHits:
    """Counts the events that a detector misses, quickly, because it reads only the hops around events.

    The count is approximate: it ignores the refractory time and other classes. An event counts as hit if the confidence
    of its own class exceeds the threshold at a hop at which a detection would count for the event.

    Args:
        settings: settings of the detector, with one threshold for all classes.
        indices: hops around all events, event by event, [n]. The indices of an event begin with the earlier hops
            that the detector needs to compute the event's first confidence.
        columns: index of the output of the event's own class, for each hop in ``indices``, [n].
        counts: whether a detection counts for the event, for each hop in ``indices``, [n].
        starts: position in ``indices`` at which each event begins, for events that the detector can report.
        others: number of events that this detector cannot hit.
    """

    settings: DetectorSettings
    indices: Array
    columns: Array
    counts: Array
    starts: Array
    others: int

    @classmethod
    def find(
        cls, events: Sequence[Event], settings: DetectorSettings, hops: int, counting: Counting = GATESEARCH
    ) -> EventHits:
        """Return a counter for the events of a recording.

        Args:
            events: the events of the recording.
            settings: settings of the detector, with one threshold for all classes.
            hops: number of hops of the recording.
            counting: the rule that defines when a detection counts for an event.
        """
        memory = settings.smoothing + settings.hits - 2
        own = [event for event in events if event.label in settings.positives]
        bounds = [[event.start_s, event.end_s + counting.tolerance_s] for event in own]
        ranges = [
            (event.label, int(low), int(high))
            for event, low, high in zip(own, *find_ranges(settings, hops, bounds), strict=True)
            if high > low
        ]
        # Index -1 stands for hops before the recording, which count as stopped.
        runs = [np.maximum(np.arange(low - memory, high), -1) for _, low, high in ranges]
        return cls(
            settings=settings,
            indices=np.concatenate([np.zeros(0, int), *runs]),
            columns=np.repeat([settings.classes.index(name) for name, _, _ in ranges], [len(run) for run in runs]),
            counts=np.concatenate([np.zeros(0, bool), *(np.arange(len(run)) >= memory for run in runs)]),
            starts=np.cumsum([0, *(len(run) for run in runs)])[:-1].astype(int),
            others=len(events) - len(ranges),
        )

    def count_misses(self, posteriors: Array, stopped: Array) -> int:
        """Return the number of missed events.

        Args:
            posteriors: outputs at every hop, [hops, classes].
            stopped: whether a gate stopped each hop, [hops].
        """
        if not len(self.starts):
            return self.others
        outputs = posteriors[self.indices, self.columns].astype(float)
        outputs[stopped[self.indices] | (self.indices < 0)] = 0.0
        above = confidences_of(outputs[:, None], self.settings)[:, 0] > self.settings.threshold
        hit = np.logical_or.reduceat(above & self.counts, self.starts)
        return self.others + int(np.count_nonzero(~hit))


def find_ranges(settings: DetectorSettings, hops: int, bounds_s: Sequence[Sequence[float]]) -> tuple[Array, Array]:
    """Return, for each pair of bounds, the hops that end within them: the first one, and the one after the last.

    Bounds are in seconds and are included. Both results are [n] for n pairs.

    >>> settings = DetectorSettings(("stop",), ("stop",), hop_s=0.5)
    >>> [each.tolist() for each in find_ranges(settings, 8, [(1.0, 2.0)])]
    [[1], [4]]
    """
    ends_s = settings.time_s(0) + settings.hop_s * np.arange(hops)
    lows, highs = np.array(bounds_s, float).reshape(-1, 2).T
    firsts = np.searchsorted(ends_s, lows - ROUNDING_S, "left")
    return firsts, np.maximum(firsts, np.searchsorted(ends_s, highs + ROUNDING_S, "right"))
