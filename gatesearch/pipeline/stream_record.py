"""Builds the entry ``stream`` of summary.json: the picked plan and its rivals at equal false accepts per hour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from gatesearch.cost.battery import battery_days
from gatesearch.cost.model import CostModel
from gatesearch.cost.uncertainty import find_interval
from gatesearch.devices.profile import list_clock_points
from gatesearch.metrics.streams import STEADY, DetCurve, Share
from gatesearch.pipeline.problem import Problem
from gatesearch.pipeline.stream_comparison import StreamComparison, StreamResult
from gatesearch.pipeline.stream_timeline import build_timeline
from gatesearch.recipe.schema.choice import Battery
from gatesearch.runtime.chain import SignalGate
from gatesearch.training.stream_split import POSITIVE, StreamSplit

MAX_EFFECTS = 5  # constants whose effects on the mean power are recorded, the largest first


def stream_entry(problem: Problem, comparison: StreamComparison | None) -> dict[str, Any]:
    """Return the entry ``stream`` as a mapping; an empty mapping for goals other than detection."""
    if comparison is None:
        return {}
    stream = problem.features.test.stream
    assert stream is not None  # the goal detection has a test stream
    fa_per_hour = problem.recipe.stream.fa_per_hour
    kinds = problem.features.kind_names
    results = {"picked": comparison.picked, **comparison.rivals}
    strongest, battery = comparison.strongest, problem.recipe.battery
    entry = {
        "hours": stream.hours,
        "events": len(stream.events),
        "hop_ms": 1e3 * stream.hop_s,
        "battery": None if battery is None else battery.model_dump(),
        "operating_point": {"fa_per_hour_wanted": fa_per_hour, "max_miss_rate": comparison.max_miss_rate},
        "doubt": comparison.doubt,
        "picked": result_entry(comparison.picked, stream, kinds, battery),
        "rivals": {name: result_entry(result, stream, kinds, battery) for name, result in comparison.rivals.items()},
        "missing_rivals": dict(comparison.missing),
        "strongest_rival": strongest,
        "power_gain": None if strongest is None else comparison.rivals[strongest].total_uj / comparison.picked.total_uj,
        "curves": {name: _curve(result.curve) for name, result in results.items()},
        "timeline": build_timeline(comparison.picked, stream),
    }
    return {"stream": entry}


def result_entry(
    result: StreamResult, stream: StreamSplit, kinds: Sequence[str], battery: Battery | None
) -> dict[str, Any]:
    """Return the figures of the picked plan or of a rival, as an entry of summary.json."""
    figures, detector = result.figures, result.detector
    settings, gate = detector.settings, result.settings.signal
    return {
        **power_entry(result, stream.hop_s, battery),
        "plan": result.plan.to_dict(),
        "fa_per_hour": figures.fa_per_hour,
        "fa_per_hour_interval": list(figures.fa_per_hour_interval),
        "miss_rate": figures.miss_rate,
        "miss_interval": list(figures.miss_interval),
        "gate_misses": figures.gate_misses,
        "network_misses": figures.network_misses,
        "validation": {"fa_per_hour": detector.point.fa_per_hour, "miss_rate": detector.point.miss_rate},
        "latency_p50_ms": _to_ms(figures.latency_p50_s),
        "latency_p95_ms": _to_ms(figures.latency_p95_s),
        "latencies_ms": [round(1e3 * latency, 1) for latency in result.counts.latencies_s],
        "macs_per_hop": result.price.expected_macs,
        "perfect_gates": {
            "mean_power_mw": result.perfect.energy.total_uj / stream.hop_s / 1e3,
            "macs_per_hop": result.perfect.expected_macs,
        },
        "reach": list(result.price.reach),
        "parts": list_parts(result, stream.hop_s),
        "signal_gate": None if gate is None else _describe_signal(gate),
        "stop_by_background": stop_by_background(result, stream, kinds),
        "misses_by_background": _by_name(figures.misses_by_background),
        "misses_by_snr": _by_name(figures.misses_by_snr),
        "fa_per_hour_by_background": _by_name(figures.false_accepts_by_background),
        "detector": {
            "smoothing": settings.smoothing,
            "hits": settings.hits,
            "threshold": settings.threshold,
            "refractory_s": settings.refractory_s,
        },
    }


def power_entry(result: StreamResult, hop_s: float, battery: Battery | None) -> dict[str, Any]:
    """Return battery life and mean power with their intervals, and the mean power by term.

    The intervals follow from the ranges of the device's constants; see :mod:`gatesearch.cost.uncertainty`.

    Args:
        result: the result of a model on the test stream.
        hop_s: seconds from hop to hop.
        battery: the battery of the recipe; None for none.
    """

    def mean_power_mw(cost: CostModel) -> float:
        rival = replace(result.rival, cost=cost)
        price = rival.price_plan(result.plan, result.run.activities(), result.signal)
        return price.energy.total_uj / hop_s / 1e3

    power = find_interval(result.rival.cost, mean_power_mw)
    days = None if battery is None else [battery_days(battery, mw) for mw in (power.nominal, power.high, power.low)]
    return {
        "battery_days": None if days is None else days[0],
        "battery_days_interval": None if days is None else days[1:],
        "mean_power_mw": result.total_uj / hop_s / 1e3,
        "mean_power_interval_mw": [power.low, power.high],
        "power_by_term_mw": {term: uj / hop_s / 1e3 for term, uj in result.price.energy.by_term.items()},
        "clocks": list_clock_points(result.rival.cost.device, result.plan.clocks),
        "uncertain_constants": [
            {"constant": effect.constant, "mean_power_mw": [effect.low, effect.high]}
            for effect in power.effects[:MAX_EFFECTS]
        ],
    }


def list_parts(result: StreamResult, hop_s: float) -> list[dict[str, Any]]:
    """Return a row for each part, in the order in which data pass: its core, how often it runs, its mean power."""
    names = ["front end", *(f"stage {k}" for k in range(len(result.plan.cores)))]
    activities = dict(zip(names, result.run.activities(), strict=True))
    cores = dict(zip(names, [result.sense_core, *result.plan.cores], strict=True))
    rows = []
    for name, uj in result.power_parts(result.price).items():
        activity = activities.get(name, STEADY)
        rows.append(
            {
                "name": name,
                "core": cores.get(name, result.sense_core),
                "runs": "steady" if activity == STEADY else "demand",
                "open_share": activity.open_share,
                "openings_per_hour": activity.openings_per_hour(hop_s),
                "power_mw": uj / hop_s / 1e3,
            }
        )
    return rows


def stop_by_background(result: StreamResult, stream: StreamSplit, kinds: Sequence[str]) -> dict[str, float]:
    """Return, for each background, the share of its hops without an event at which the last stage does not run."""
    closed, labels = ~result.run.runs[-1], stream.kinds.numpy()
    return {
        name: float(closed[labels == k].mean()) for k, name in enumerate(kinds) if k != POSITIVE and (labels == k).any()
    }


def _describe_signal(gate: SignalGate) -> dict[str, Any]:
    return {"statistic": gate.statistic, **asdict(gate.settings)}


def _curve(curve: DetCurve) -> dict[str, list[float]]:
    """Return the points of a curve at which a value changes, in order of decreasing false accepts."""
    rates, misses = curve.fa_per_hour, curve.miss_rates
    moves = np.append(True, (np.diff(rates) != 0) | (np.diff(misses) != 0))
    return {"fa_per_hour": rates[moves].tolist(), "miss_rate": misses[moves].tolist()}


def _to_ms(seconds: float | None) -> float | None:
    return None if seconds is None else 1e3 * seconds


def _by_name(shares: Mapping[str, Share]) -> dict[str, dict[str, float | int | None]]:
    return {name: {"count": share.count, "rate": share.rate} for name, share in shares.items()}
