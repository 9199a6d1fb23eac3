"""Computes the data from which a report draws the test stream: level, running parts, events, detections, power."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gatesearch.gates.level import FRACTION_BITS, signal_frame
from gatesearch.metrics.streams import GATESEARCH
from gatesearch.metrics.streams.matching import FALSE_ACCEPT, match
from gatesearch.pipeline.stream_comparison import StreamResult
from gatesearch.runtime.chain import measure_parts
from gatesearch.runtime.detector import Array
from gatesearch.training.stream_split import StreamSplit

BINS = 120  # number of intervals into which the stream is divided, for level and power
DETAIL_S = 60.0  # length of the stretch that is drawn in detail
DETAIL_STEP_S = 5.0  # time between the starts of the stretches to choose from
INT16_BITS, OCTAVE_DB = 15, 20 * math.log10(2)


def build_timeline(result: StreamResult, stream: StreamSplit) -> dict[str, Any]:
    """Return the data of the drawing, ready for JSON.

    Times are in seconds from the start of the stream; levels are in decibels relative to a full scale of 1. For each
    part that does not always run, ``open`` holds the stretches in which the part runs.
    """
    outcome = match(stream.events, result.detections, GATESEARCH)
    events = [
        {"label": event.label, "start_s": event.start_s, "end_s": event.end_s, "detected": bool(hit >= 0)}
        for event, hit in zip(stream.events, outcome.event_hits.tolist(), strict=True)
    ]
    detections = [
        {"label": each.label, "time_s": each.time_s, "confidence": each.confidence, "false": role == FALSE_ACCEPT}
        for each, role in zip(result.detections, outcome.roles.tolist(), strict=True)
    ]
    start_s = choose_detail(events, detections, 3600 * stream.hours)
    level = level_db(stream)
    first, last = np.searchsorted(stream.ends_s, [start_s, start_s + DETAIL_S])
    edges = np.linspace(0, len(stream.ends_s), min(BINS, len(stream.ends_s)) + 1).astype(int)
    return {
        "seconds": 3600 * stream.hours,
        "segments": [{"kind": each.kind, "start_s": each.start_s, "end_s": each.end_s} for each in stream.backgrounds],
        "events": events,
        "detections": detections,
        "open": {
            name: open_stretches(runs, stream.ends_s, stream.hop_s)
            for name, runs in join_parts(name_parts(result), result.run.runs).items()
        },
        "whole": {
            "times_s": [float(stream.ends_s[edge]) for edge in edges[:-1]],
            "level_db": None if level is None else [_round(level[a:b].max()) for a, b in _pairs(edges)],
            "power_mw": power_by_part(result, edges, stream.hop_s),
        },
        "detail": {
            "start_s": start_s,
            "end_s": start_s + DETAIL_S,
            "times_s": [_round(time) for time in stream.ends_s[first:last]],
            "level_db": None if level is None else [_round(value) for value in level[first:last]],
        },
    }


def name_parts(result: StreamResult) -> list[str]:
    """Return the names of the front end and of the stages."""
    return ["front end", *(f"stage {k}" for k in range(len(result.run.runs) - 1))]


def join_parts(names: Sequence[str], runs: Sequence[Array]) -> dict[str, Array]:
    """Return for each part whether it runs at each hop, without parts that always run.

    Neighbouring parts that run at the same hops are joined.

    >>> some = np.array([True, False])
    >>> list(join_parts(["front end", "stage 0", "stage 1"], [some, some, ~some]))
    ['front end, stage 0', 'stage 1']
    """
    groups: list[tuple[list[str], Array]] = []
    for name, part in zip(names, runs, strict=True):
        if groups and np.array_equal(groups[-1][1], part):
            groups[-1][0].append(name)
        else:
            groups.append(([name], part))
    return {", ".join(together): part for together, part in groups if not part.all()}


def level_db(stream: StreamSplit) -> Array | None:
    """Return the level of the window that ends at each hop, in decibels; None for a stream that is not sound."""
    if "level" not in stream.signal:
        return None
    frame = signal_frame(stream.format.rate, stream.format.window, stream.format.hop)
    octaves = stream.signal["level"] / 2.0**FRACTION_BITS - math.log2(frame) - INT16_BITS
    result: Array = OCTAVE_DB * octaves
    return result


def open_stretches(runs: Array, ends_s: Array, hop_s: float) -> list[list[float]]:
    """Return the start and the end of each stretch in which a part runs, in seconds.

    >>> open_stretches(np.array([True, True, False, True]), np.array([1.0, 1.5, 2.0, 2.5]), 0.5)
    [[0.5, 1.5], [2.0, 2.5]]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], runs, [False]]).astype(int)))
    starts, stops = edges[::2], edges[1::2] - 1
    pairs = zip(ends_s[starts] - hop_s, ends_s[stops], strict=True)
    return [[_round(start), _round(stop)] for start, stop in pairs]


def power_by_part(result: StreamResult, edges: Array, hop_s: float) -> dict[str, list[float]]:
    """Return the mean power of each part in each bin of hops, in milliwatts.

    Args:
        result: the result with the parts.
        edges: boundaries of the bins, as indices of hops, [bins + 1].
        hop_s: seconds from hop to hop.
    """
    rows: dict[str, list[float]] = {}
    for first, last in _pairs(edges):
        price = result.rival.price_plan(result.plan, measure_parts(result.run.runs, first, last), result.signal)
        for name, uj in result.power_parts(price).items():
            rows.setdefault(name, []).append(_round(uj / hop_s / 1e3, 5))
    return rows


def choose_detail(events: list[dict[str, Any]], detections: list[dict[str, Any]], seconds: float) -> float:
    """Return the start of the stretch with the largest score: 3 for a false accept, 2 for a miss, 1 for a hit.

    >>> choose_detail([{"end_s": 100.0, "detected": False}], [], 200.0)
    70.0
    """
    starts = np.arange(0.0, max(seconds - DETAIL_S, 0.0) + 1e-9, DETAIL_STEP_S)
    weighted = [(event["end_s"], 1.0 if event["detected"] else 2.0) for event in events]
    weighted += [(each["time_s"], 3.0) for each in detections if each["false"]]
    times, weights = np.array(weighted).reshape(-1, 2).T
    inside = (times >= starts[:, None] + 1) & (times < starts[:, None] + DETAIL_S - 1)
    scores = inside @ weights if len(times) else np.zeros(len(starts))
    # Among stretches with the largest score, the function takes the middle one, in whose middle the events lie.
    best = np.flatnonzero(scores == scores.max())
    return float(starts[best[len(best) // 2]])


def _pairs(edges: Array) -> list[tuple[int, int]]:
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))


def _round(value: float, digits: int = 3) -> float:
    return round(float(value), digits)
