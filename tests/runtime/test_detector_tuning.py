"""Tests that a detector's DET curve and tuned threshold agree with runs of the detector at each threshold."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatesearch.errors import DataError
from gatesearch.metrics.streams import COUNTINGS, GATESEARCH, Event, count_scene
from gatesearch.runtime.detector import Detector, DetectorSettings
from gatesearch.runtime.detector_tuning import SceneOutputs, det_curve, set_threshold, tune_detector

HOP_S = 0.1


def settings_for(**changes: Any) -> DetectorSettings:
    return replace(DetectorSettings(("yes", "no", "noise"), ("yes", "no"), hop_s=HOP_S), **changes)


def draw_scene(seed: int, hops: int, words: int, digits: int | None = None) -> SceneOutputs:
    """Return a scene of noisy outputs, which rise in events; a tenth of the events is of an unreported class."""
    generator = np.random.default_rng(seed)
    posteriors = generator.random((hops, 3)) ** 3
    events = []
    for start in generator.integers(0, max(hops - 20, 1), words):
        label = generator.choice(["yes", "no", "maybe"], p=[0.6, 0.3, 0.1])
        events.append(Event(str(label), start * HOP_S, (start + 5) * HOP_S))
        column = {"yes": 0, "no": 1, "maybe": 2}[str(label)]
        posteriors[start + 3 : start + 8, column] += generator.random()
    posteriors /= posteriors.max()
    if digits is not None:
        posteriors = posteriors.round(digits)
    return SceneOutputs(posteriors, events, generator.random(hops) < 0.2)


@st.composite
def tasks(draw: st.DrawFn) -> tuple[list[SceneOutputs], DetectorSettings]:
    scenes = [
        draw_scene(draw(st.integers(0, 10**6)), draw(st.integers(30, 200)), draw(st.integers(0, 6)), digits)
        for digits in draw(st.lists(st.sampled_from([None, 2]), min_size=1, max_size=2))
    ]
    settings = settings_for(
        smoothing=draw(st.integers(1, 5)),
        hits=draw(st.integers(1, 3)),
        refractory_s=draw(st.sampled_from([0.0, 0.2, 1.0])),
    )
    return scenes, settings


def run(scenes: list[SceneOutputs], settings: DetectorSettings, counting: Any = GATESEARCH) -> tuple[float, float]:
    """Run the detector over scenes, and return its false accepts per hour and its miss rate."""
    counts = [
        count_scene(
            scene.events,
            Detector(settings).detect(scene.posteriors, scene.stopped),
            len(scene.posteriors) * HOP_S / 3600,
            counting,
        )
        for scene in scenes
    ]
    events = sum(count.events for count in counts)
    hours = sum(count.hours for count in counts)
    return sum(count.false_accepts for count in counts) / hours, sum(count.misses for count in counts) / max(events, 1)


@given(tasks(), st.sampled_from(list(COUNTINGS.values())))
def test_each_point_of_the_curve_equals_a_run_of_the_detector(task: Any, counting: Any) -> None:
    scenes, settings = task
    curve = det_curve(scenes, settings, counting, points=12)
    assert list(curve.thresholds) == sorted(curve.thresholds)
    for threshold, rate, misses in zip(curve.thresholds, curve.fa_per_hour, curve.miss_rates, strict=True):
        measured = run(scenes, replace(settings, threshold=float(threshold)), counting)
        assert measured == pytest.approx((rate, misses))
    assert curve.fa_per_hour[-1] == 0  # the last threshold is above all outputs


@given(tasks(), st.sampled_from([0.0, 100.0, 500.0, 10**6]))
def test_the_threshold_and_all_above_keep_the_target_rate(task: Any, expected: float) -> None:
    scenes, settings = task
    tuned = set_threshold(scenes, settings, expected)
    rate, misses = run(scenes, tuned.settings)
    assert rate <= expected
    assert (tuned.point.fa_per_hour, tuned.point.miss_rate) == pytest.approx((rate, misses))
    every = det_curve(scenes, settings, points=10**4)
    within = every.fa_per_hour <= expected
    lowest = float(every.thresholds[np.flatnonzero(~within)[-1] + 1 if (~within).any() else 0])
    assert tuned.settings.threshold == lowest == every.threshold_for(expected)


def test_a_threshold_stands_between_outputs() -> None:
    scene = draw_scene(1, 150, 4, digits=2)
    curve = det_curve([scene], settings_for(smoothing=1))
    largest = np.where(scene.stopped, 0.0, scene.posteriors[:, :2].max(1))  # type: ignore[arg-type]
    assert len(curve.thresholds) > 10 and not np.isin(curve.thresholds, largest).any()


def test_a_flood_of_detections_does_not_keep_a_rate() -> None:
    """With a threshold below all outputs, the detector fires after each refractory time of 10 s: 360 times per hour."""
    generator = np.random.default_rng(0)
    outputs = np.zeros((1000, 3))
    outputs[:, 0] = 0.1 + 0.05 * generator.random(1000)
    outputs[5::40, 0] = 0.8
    scene = SceneOutputs(outputs, [])
    settings = settings_for(refractory_s=10.0)
    tuned = set_threshold([scene], settings, fa_per_hour=300.0)
    assert tuned.settings.threshold > 0.8  # type: ignore[operator]


def test_tuning_prefers_fewer_misses_and_then_less_latency() -> None:
    """The noise has single loud hops; only smoothing or hits in a row tell them from a word of five hops."""
    outputs = np.full((600, 3), 0.1)
    outputs[200:205, 0] = 0.7
    outputs[[50, 300, 400, 500], 0] = 0.9
    scene = SceneOutputs(outputs, [Event("yes", 20.0, 20.5)])
    alone = set_threshold([scene], settings_for(), fa_per_hour=0.0)
    assert alone.point.miss_rate == 1.0
    tuned = tune_detector([scene], settings_for(), fa_per_hour=0.0)
    assert (tuned.point.fa_per_hour, tuned.point.miss_rate) == (0.0, 0.0)
    assert (tuned.settings.smoothing, tuned.settings.hits) == (1, 2)


def test_no_hops_and_an_impossible_rate_are_refused() -> None:
    with pytest.raises(DataError, match="no hop"):
        det_curve([], settings_for())
    with pytest.raises(DataError, match="-1"):
        set_threshold([draw_scene(0, 50, 1)], settings_for(), fa_per_hour=-1.0)


@pytest.mark.parametrize(("smoothing", "hits", "refractory_s"), [(1, 1, 1.0), (10, 3, 1.0), (1, 1, 0.04)])
def test_an_hour_at_twenty_milliseconds_takes_seconds(smoothing: int, hits: int, refractory_s: float) -> None:
    generator = np.random.default_rng(0)
    posteriors = generator.random((180_000, 12)) ** 8
    names = tuple(f"word{i}" for i in range(12))
    events = [Event(names[i % 10], 10.0 * i, 10.0 * i + 0.7) for i in range(300)]
    settings = DetectorSettings(
        names, names[:10], hop_s=0.02, smoothing=smoothing, hits=hits, refractory_s=refractory_s
    )
    start = time.process_time()
    curve = det_curve([SceneOutputs(posteriors, events)], settings)
    assert time.process_time() - start < 2.0
    assert len(curve.thresholds) > 100
