"""Figures of a gated model and its detector on a labelled stream.

A chain is the front end, the stages of the model, the gates between them and the detector, in their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from gatesearch.metrics import LABELLED_FIGURES
from gatesearch.metrics.routes import describe_stops
from gatesearch.metrics.streams import (
    GATESEARCH,
    Activity,
    Detection,
    SceneCounts,
    StreamFigures,
    count_scene,
    events_passed,
    match,
    stream_figures,
)
from gatesearch.runtime.chain import ChainRun, ChainSettings
from gatesearch.runtime.detector import Array, Detector
from gatesearch.runtime.detector_tuning import TunedDetector
from gatesearch.training.stream_split import POSITIVE, StreamSplit


@dataclass(frozen=True, slots=True)
class DetectionQuality:
    """Figures of a model and its detector on a stream.

    Args:
        figures: figures of the detections.
        chain: the settings by which the gates decide.
        detector: the detector, tuned on the validation stream.
        gate_recall: share of events for which the gates pass at least one window that holds the event.
        passed: for each kind of hop, the shares that reach stages 0, 1, 2 and so on; the first entry is 1. A kind that
            the stream lacks has the shares of all hops without an event.
        early_stop_rate: share of the hops without an event at which a gate stops the window.
        layers: the report of each layer gate, by site.
        activities: for the front end and each stage, the share of hops at which it runs, and its openings per hop.
        stop_shares: for each kind of hop without an event, the share of hops of this kind that each gate stops.
        lost_events: for each gate, the number of undetected events that it loses. A gate loses an event if windows that
            hold the event reach the gate and the gate stops all of them.
        hop_s: length of a hop in seconds.
    """

    figures: StreamFigures
    chain: ChainSettings
    detector: TunedDetector
    gate_recall: float
    passed: Mapping[str, tuple[float, ...]]
    early_stop_rate: float
    layers: Mapping[str, Mapping[str, float]]
    activities: tuple[Activity, ...]
    stop_shares: Mapping[str, Mapping[str, float]]
    lost_events: Mapping[str, int]
    hop_s: float

    @property
    def value(self) -> float:
        """The share of events that are detected."""
        return 1.0 - self.figures.miss_rate

    @property
    def gate_recalls(self) -> tuple[float, ...]:
        """For each gate, the share of windows with events that it passes, among those that reach it."""
        return tuple(after / before if before else 0.0 for before, after in pairwise(self.passed["positive"]))

    @property
    def absent_kinds(self) -> frozenset[str]:
        """The kinds of hops that the stream lacks."""
        return frozenset(self.passed) - {"positive"} - frozenset(self.stop_shares)

    def summary(self) -> dict[str, Any]:
        """Return the figures, named as in summary.json."""
        return {
            **dict.fromkeys(LABELLED_FIGURES),
            "detected": self.value,
            "miss_rate": self.figures.miss_rate,
            "fa_per_hour": self.figures.fa_per_hour,
            "latency_p50_ms": _to_ms(self.figures.latency_p50_s),
            "latency_p95_ms": _to_ms(self.figures.latency_p95_s),
        }

    def gated_summary(self) -> dict[str, Any]:
        """Return the figures of the model's gates, named as in summary.json."""
        return {
            **describe_stops(self.passed, self.early_stop_rate, self.gate_recall, self.absent_kinds),
            "open_shares": [each.open_share for each in self.activities],
            "openings_per_hour": [each.openings_per_hour(self.hop_s) for each in self.activities],
            "stop_shares_by_background": {kind: dict(row) for kind, row in self.stop_shares.items()},
            "misses_by_gate": dict(self.lost_events),
            "misses_by_network": self.figures.network_misses,
        }


def judge(
    run: ChainRun,
    stream: StreamSplit,
    chain: ChainSettings,
    tuned: TunedDetector,
    kind_names: Sequence[str],
    layers: Mapping[str, Mapping[str, float]],
) -> DetectionQuality:
    """Return the quality of a chain and its tuned detector on a stream.

    Args:
        run: the run of the chain over the stream.
        stream: the stream.
        chain: the settings of the gates.
        tuned: the detector, tuned on the validation stream.
        kind_names: names of the kinds of hops, "positive" first.
        layers: the report of each layer gate, by site.
    """
    passed = events_passed(stream.events, stream.ends_s, run.stopped, stream.window_s)
    detections, counts = count_chain(run, stream, tuned, passed)
    kinds = stream.kinds.numpy()
    names = {name: kinds == k for k, name in enumerate(kind_names)}
    negatives = {name: hops for name, hops in names.items() if hops.any() and name != kind_names[POSITIVE]}
    gates = gate_names(chain)
    # For each gate, the hops that reach it; then the hops that the last gate passes.
    reached = [*([np.ones_like(run.stopped)] if chain.signal is not None else []), run.runs[0], *run.runs[2:]]
    stopped = {gate: before & ~after for gate, (before, after) in zip(gates, pairwise(reached), strict=True)}
    hits = match(stream.events, detections, GATESEARCH).event_hits
    return DetectionQuality(
        figures=stream_figures([counts]),
        chain=chain,
        detector=tuned,
        gate_recall=sum(passed) / len(passed) if passed else 1.0,
        passed={
            name: (1.0, *(_share(runs[hops if hops.any() else kinds != POSITIVE]) for runs in run.runs[2:]))
            for name, hops in names.items()
        },
        early_stop_rate=_share(~run.runs[-1][kinds != POSITIVE]),
        layers=layers,
        activities=run.activities(),
        stop_shares={
            name: {gate: _share(hops_stopped[hops]) for gate, hops_stopped in stopped.items()}
            for name, hops in negatives.items()
        },
        lost_events=_count_lost(stream, gates, reached, (hits < 0) & ~np.array(passed, bool)),
        hop_s=stream.hop_s,
    )


def count_chain(
    run: ChainRun, stream: StreamSplit, tuned: TunedDetector, passed: Sequence[bool] | None = None
) -> tuple[list[Detection], SceneCounts]:
    """Return the detections of a chain on a stream, and the counts of hits, misses and false accepts.

    Args:
        run: the run of the chain over the stream.
        stream: the stream.
        tuned: the detector, tuned on the validation stream.
        passed: whether the gates pass a window that holds each event, [events]; None to compute it.
    """
    if passed is None:
        passed = events_passed(stream.events, stream.ends_s, run.stopped, stream.window_s)
    detections = Detector(tuned.settings).detect(run.posteriors, run.stopped)
    counts = count_scene(stream.events, detections, stream.hours, passed=passed, backgrounds=stream.backgrounds)
    return detections, counts


def _count_lost(stream: StreamSplit, gates: Sequence[str], reached: Sequence[Array], lost: Array) -> dict[str, int]:
    """Return, for each gate, the number of lost events that reach it in at least one window and pass it in none.

    Args:
        stream: the stream.
        gates: names of the gates.
        reached: for each gate, whether each hop reaches it; then whether each hop passes the last gate,
            [gates + 1][hops].
        lost: events without a detection and without a window that passes all gates, [events].
    """
    holds = [np.array(events_passed(stream.events, stream.ends_s, ~runs, stream.window_s), bool) for runs in reached]
    pairs = zip(gates, pairwise(holds), strict=True)
    return {name: int(np.count_nonzero(lost & before & ~after)) for name, (before, after) in pairs}


def _share(flags: Array) -> float:
    return float(flags.mean()) if len(flags) else 0.0


def _to_ms(seconds: float | None) -> float | None:
    return None if seconds is None else 1e3 * seconds


def gate_names(chain: ChainSettings) -> list[str]:
    """Return the names of a chain's gates, in order.

    >>> gate_names(ChainSettings.all_open(2))
    ['gate 1', 'gate 2']
    """
    signal = ["signal gate"] if chain.signal is not None else []
    return [*signal, *(f"gate {k + 1}" for k in range(len(chain.gates)))]
