"""The figures of a detector on labelled streams: false accepts per hour, miss rate, latency.

Rates have exact confidence intervals. A scene is one labelled stream.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gatesearch.errors import DataError
from gatesearch.metrics.streams.counting import Claim
from gatesearch.metrics.streams.intervals import CONFIDENCE, Interval, binomial_interval, doubt_about, poisson_interval
from gatesearch.metrics.streams.scene_counts import SceneCounts


@dataclass(frozen=True, slots=True)
class Share:
    """The misses or the false accepts at one kind of background, or in one band of the events' level.

    Args:
        count: number of misses or false accepts.
        rate: for misses, their share of the events; for false accepts, their number per hour of this background. None
            if the number of hours is unknown.
        interval: confidence interval of the rate; None if there is no rate.
    """

    count: int
    rate: float | None
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class StreamFigures:
    """Figures over all scenes of a split.

    A latency is the time from the end of an event to its detection. It is negative for a detection before the end.

    Args:
        hours: length of all scenes in hours.
        events: number of events in all scenes.
        false_accepts: number of false accepts.
        fa_per_hour: number of false accepts per hour.
        fa_per_hour_interval: exact Poisson interval of ``fa_per_hour``.
        misses: number of missed events.
        miss_rate: share of missed events.
        miss_interval: exact binomial interval of ``miss_rate`` (Clopper and Pearson).
        gate_misses: number of misses for which the gates passed no window that holds the event; None if a scene has no
            such count.
        network_misses: number of all other misses; None if a scene has no such count.
        latency_p50_s: median latency in seconds; None if nothing was detected.
        latency_p95_s: 95th percentile of the latency in seconds; None if nothing was detected.
        misses_by_background: misses at each kind of background.
        misses_by_snr: misses in each band of the event's level over the background.
        false_accepts_by_background: false accepts at each kind of background.
        false_accepts_by_snr: false accepts inside events, in each band of the event's level over the background; also
            false accepts outside events, under ``"no event"``.
    """

    hours: float
    events: int
    false_accepts: int
    fa_per_hour: float
    fa_per_hour_interval: Interval
    misses: int
    miss_rate: float
    miss_interval: Interval
    gate_misses: int | None
    network_misses: int | None
    latency_p50_s: float | None
    latency_p95_s: float | None
    misses_by_background: Mapping[str, Share]
    misses_by_snr: Mapping[str, Share]
    false_accepts_by_background: Mapping[str, Share]
    false_accepts_by_snr: Mapping[str, Share]

    def meets(self, claim: Claim) -> bool:
        """Say whether the rates are within a claim; the confidence intervals are not compared."""
        within = self.fa_per_hour <= claim.fa_per_hour
        return within and (claim.miss_rate is None or self.miss_rate <= claim.miss_rate)

    def doubt(self, claim: Claim, confidence: float = CONFIDENCE) -> str | None:
        """Return a line that says that these streams are too short for a claim; None if they are long enough."""
        return doubt_about(claim.fa_per_hour, self.hours, confidence)


def stream_figures(scenes: Sequence[SceneCounts], confidence: float = CONFIDENCE) -> StreamFigures:
    """Return the figures of all scenes together.

    Without events, the miss rate is 0 and its interval is [0, 1].

    Args:
        scenes: the counts of each scene, all under the same rule.
        confidence: the confidence of the intervals.

    Raises:
        DataError: there is no scene.

    >>> from gatesearch.metrics.streams import Detection, Event, count_scene
    >>> events = [Event("stop", 10.0 * i, 10.0 * i + 0.5) for i in range(1, 5)]
    >>> heard = [Detection("stop", event.end_s + 0.2, 0.9) for event in events[1:]]
    >>> figures = stream_figures([count_scene(events, heard, hours=1.0)])
    >>> figures.miss_rate, figures.fa_per_hour, round(figures.fa_per_hour_interval.high, 2)
    (0.25, 0.0, 3.0)
    >>> round(figures.latency_p50_s, 3)
    0.2
    """
    if not scenes:
        raise DataError("no scene to judge; wanted: one at least")
    hours = sum(scene.hours for scene in scenes)
    events, misses, false_accepts = (
        sum(getattr(scene, name) for scene in scenes) for name in ("events", "misses", "false_accepts")
    )
    by_gates = [scene.gate_misses for scene in scenes if scene.gate_misses is not None]
    gate_misses = sum(by_gates) if len(by_gates) == len(scenes) else None
    latencies = np.array([latency for scene in scenes for latency in scene.latencies_s])
    p50, p95 = (float(np.quantile(latencies, share)) if len(latencies) else None for share in (0.5, 0.95))
    return StreamFigures(
        hours=hours,
        events=events,
        false_accepts=false_accepts,
        fa_per_hour=false_accepts / hours,
        fa_per_hour_interval=poisson_interval(false_accepts, hours, confidence),
        misses=misses,
        miss_rate=misses / events if events else 0.0,
        miss_interval=binomial_interval(misses, events, confidence),
        gate_misses=gate_misses,
        network_misses=None if gate_misses is None else misses - gate_misses,
        latency_p50_s=p50,
        latency_p95_s=p95,
        misses_by_background=_miss_shares(scenes, "background", confidence),
        misses_by_snr=_miss_shares(scenes, "snr", confidence),
        false_accepts_by_background=_false_accept_shares(scenes, confidence),
        false_accepts_by_snr={
            band: Share(int(count), None, None)
            for band, count in _total(scene.false_accepts_by_snr for scene in scenes).items()
        },
    )


def _miss_shares(scenes: Sequence[SceneCounts], group: str, confidence: float) -> dict[str, Share]:
    events = _total(getattr(scene, f"events_by_{group}") for scene in scenes)
    misses = _total(getattr(scene, f"misses_by_{group}") for scene in scenes)
    return {
        name: Share(
            count=int(misses[name]),
            rate=misses[name] / events[name],
            interval=binomial_interval(int(misses[name]), int(events[name]), confidence),
        )
        for name in sorted(events)
    }


def _false_accept_shares(scenes: Sequence[SceneCounts], confidence: float) -> dict[str, Share]:
    counts = _total(scene.false_accepts_by_background for scene in scenes)
    hours = _total(scene.hours_by_background for scene in scenes)
    shares = {}
    for kind in sorted({*counts, *hours}):
        count, kind_hours = int(counts[kind]), hours[kind]
        timed = kind_hours > 0
        shares[kind] = Share(
            count=count,
            rate=count / kind_hours if timed else None,
            interval=poisson_interval(count, kind_hours, confidence) if timed else None,
        )
    return shares


def _total(groups: Iterable[Mapping[str, float]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for group in groups:
        for name, number in group.items():
            total[name] += number  # type: ignore[assignment]
    return total
