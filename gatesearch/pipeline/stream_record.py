"""The entry ``stream`` of summary.json: the picked plan beside other methods at equal false accepts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatesearch.cost.price import Price
from gatesearch.metrics.streams import Claim, Share
from gatesearch.pipeline.best_record import BestFigures
from gatesearch.pipeline.problem import Problem
from gatesearch.training.goals.detection_quality import DetectionQuality


def stream_entry(problem: Problem, figures: BestFigures) -> dict[str, Any]:
    """Return summary.json's entry ``stream``; an empty mapping for other goals than detection."""
    gated, ungated = figures.gated, figures.ungated
    if not isinstance(gated, DetectionQuality) or not isinstance(ungated, DetectionQuality):
        return {}
    rivals = {"ungated_windows": (ungated, figures.ungated_price)}
    return {"stream": stream_summary(problem, gated, figures.price, rivals)}


def stream_summary(
    problem: Problem, picked: DetectionQuality, price: Price, rivals: dict[str, tuple[DetectionQuality, Price]]
) -> dict[str, Any]:
    """Return the test stream, the operating point, and the figures of the plan and of each other method.

    Each method has its own threshold, which is set on the validation stream for the same false accepts an hour.
    """
    stream = problem.features.test.stream
    assert stream is not None  # goal detection has one
    fa_per_hour = problem.recipe.stream.fa_per_hour
    return {
        "hours": stream.hours,
        "events": len(stream.events),
        "hop_ms": 1e3 * stream.hop_s,
        "operating_point": {"fa_per_hour_wanted": fa_per_hour},
        "doubt": picked.figures.doubt(Claim(fa_per_hour=fa_per_hour)),
        "picked": _figures(picked, price, stream.hop_s),
        "rivals": {name: _figures(quality, own, stream.hop_s) for name, (quality, own) in rivals.items()},
    }


def _figures(quality: DetectionQuality, price: Price, hop_s: float) -> dict[str, Any]:
    """Return the figures of one detector on the test stream as they stand in summary.json."""
    figures, settings = quality.figures, quality.detector.settings
    return {
        "fa_per_hour": figures.fa_per_hour,
        "fa_per_hour_interval": list(figures.fa_per_hour_interval),
        "miss_rate": figures.miss_rate,
        "miss_interval": list(figures.miss_interval),
        "gate_misses": figures.gate_misses,
        "network_misses": figures.network_misses,
        "validation": {
            "fa_per_hour": quality.detector.point.fa_per_hour,
            "miss_rate": quality.detector.point.miss_rate,
        },
        "latency_p50_ms": quality.summary()["latency_p50_ms"],
        "latency_p95_ms": quality.summary()["latency_p95_ms"],
        "mean_power_mw": price.energy.total_uj / hop_s / 1e3,
        "reach": list(price.reach),
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


def _by_name(shares: Mapping[str, Share]) -> dict[str, dict[str, float | int | None]]:
    return {name: {"count": share.count, "rate": share.rate} for name, share in shares.items()}
