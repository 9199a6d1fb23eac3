"""Tests of chains of gates over a recording: a chain does what its gates do at each hop, and tuning sets all gates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatesearch.errors import DataError, UserError
from gatesearch.metrics.streams import GATESEARCH, Activity, Event, events_passed, match
from gatesearch.runtime.chain import ChainScores, ChainSettings, SignalGate, collect_run, run_chain
from gatesearch.runtime.chain_tuning import tune_chain
from gatesearch.runtime.detector import Detector, DetectorSettings
from gatesearch.runtime.detector_tuning import SceneOutputs, tune_detector
from gatesearch.runtime.event_hops import EventHits, EventHops
from gatesearch.runtime.gate_choices import find_thresholds, gate_choices
from gatesearch.runtime.stream_gate import StreamGate, StreamGateSettings

HOP_S = 0.1
DETECTOR = DetectorSettings(("stop", "noise"), ("stop",), hop_s=HOP_S, first_s=1.0)
WINDOW_OVER_HOP = 10


def recording(seed: int, hops: int = 3000, events: int = 40, noise: float = 0.5, gates: int = 1) -> ChainScores:
    """Return noisy scores, which rise where a window holds an event."""
    generator = np.random.default_rng(seed)
    ends_s = 1.0 + HOP_S * np.arange(hops)
    strength, words = np.full(hops, -3.0), []
    for k in range(events):
        start = 2.0 + k * (ends_s[-1] - 5) / events
        words.append(Event("stop", start, start + 0.4))
        strength[(ends_s >= start + 0.4) & (ends_s <= start + 1.0)] = generator.normal(3.0, noise)
    probability = 1 / (1 + np.exp(-strength - generator.normal(0, noise, hops)))
    return ChainScores(
        gates=strength[:, None] + generator.normal(0, noise, (hops, gates)),
        posteriors=np.stack([probability, 1 - probability], 1),
        events=words,
        signal={"spread": np.round(1000 * (strength + generator.normal(0, 3 * noise, hops))).astype(int)},
    )


def work(activities: Sequence[Activity]) -> float:
    """Return the mean work of a hop; the last stage has most of it, and each opening costs a whole window."""
    shares = (0.1, 0.1) + (1.0,) * (len(activities) - 2)
    hops = [each.openings * WINDOW_OVER_HOP + each.open_share - each.openings for each in activities]
    return sum(share * each for share, each in zip(shares, hops, strict=True))


@given(st.integers(0, 2**32 - 1), st.integers(0, 3), st.booleans())
def test_a_chain_equals_its_gates_hop_by_hop(seed: int, gates: int, has_signal: bool) -> None:
    scores = recording(seed, hops=200, events=3, gates=gates)
    generator = np.random.default_rng(seed)

    def draw(scale: float) -> StreamGateSettings:
        smoothing, hold = int(generator.integers(1, 6)), int(generator.integers(0, 6))
        return StreamGateSettings(threshold=scale * generator.normal(-2), smoothing=smoothing, hold=hold)

    chain = ChainSettings(
        gates=tuple(draw(1.0) for _ in range(gates)), signal=SignalGate("spread", draw(1000.0)) if has_signal else None
    )
    run = run_chain(scores, chain)
    signal = StreamGate(chain.signal.settings) if chain.signal else None
    inner = [StreamGate(each) for each in chain.gates]
    for hop in range(200):
        is_open = signal is None or signal.push(scores.signal["spread"][hop])
        expected = [is_open, is_open]
        for k, gate in enumerate(inner):
            is_open = gate.push(scores.gates[hop, k] if is_open else None)
            expected.append(is_open)
        assert [bool(part[hop]) for part in run.runs] == expected
        assert run.stopped[hop] == (not is_open)


def test_a_hop_that_leaves_at_an_exit_is_not_stopped() -> None:
    answer = np.array([[0.7], [0.6]])
    scores = ChainScores(np.array([[1.0], [-1.0]]), np.array([[0.9], [0.8]]), (), exits={0: answer})
    run = run_chain(scores, ChainSettings((StreamGateSettings(threshold=0.0),)))
    assert run.stopped.tolist() == [False, False]
    assert run.posteriors.tolist() == [[0.9], [0.6]]


def test_scores_and_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match=r"chain: gates: 2 hops; wanted: 3"):
        ChainScores(np.zeros((2, 1)), np.zeros((3, 1)), ())
    scores = ChainScores(np.zeros((3, 1)), np.zeros((3, 1)), (), {"spread": np.zeros(3)})
    with pytest.raises(DataError, match="settings of 2 gates; wanted: settings of 1"):
        run_chain(scores, ChainSettings.all_open(2))
    with pytest.raises(UserError, match="unknown statistic 'spraed'; nearest: 'spread'"):
        run_chain(
            scores, replace(ChainSettings.all_open(1), signal=SignalGate("spraed", StreamGateSettings(threshold=0.0)))
        )


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.5, 0.9, 1.0]))
def test_events_count_as_passed_as_the_figures_count_them(seed: int, share: float) -> None:
    scores = recording(seed, hops=300, events=8)
    stopped = np.random.default_rng(seed).random(300) < share
    passed = events_passed(scores.events, 1.0 + HOP_S * np.arange(300), stopped, 1.0)
    assert EventHops.find(scores.events, DETECTOR, 300).recall(stopped) == pytest.approx(np.mean(passed))


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 3), st.sampled_from([0.0, 0.5, 0.9]))
def test_fast_misses_are_those_of_a_detector_without_refractory_time(
    seed: int, smoothing: int, hits: int, share: float
) -> None:
    scores = recording(seed, hops=400, events=8, noise=2.0)
    stopped = np.random.default_rng(seed).random(400) < share
    detector = DetectorSettings(
        DETECTOR.classes,
        DETECTOR.positives,
        hop_s=HOP_S,
        smoothing=smoothing,
        threshold=0.6,
        hits=hits,
        refractory_s=0.0,
        first_s=1.0,
    )
    detections = Detector(detector).detect(scores.posteriors, stopped)
    fast = EventHits.find(scores.events, detector, 400).count_misses(scores.posteriors, stopped)
    assert fast == match(scores.events, detections, GATESEARCH).misses(GATESEARCH)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 2), st.sampled_from([0.02, 0.05, 0.2]))
def test_a_tuned_chain_keeps_the_misses_and_never_costs_more_than_open_gates(
    seed: int, gates: int, max_miss_rate: float
) -> None:
    scores = recording(seed, gates=gates, noise=1.0)
    tuned = tune_chain(scores, DETECTOR, 12.0, max_miss_rate, work)
    run = run_chain(scores, tuned.settings)
    assert tuned.activities == run.activities()
    assert tuned.price == pytest.approx(work(tuned.activities))
    assert tuned.price <= work(run_chain(scores, ChainSettings.all_open(gates)).activities())
    detections = Detector(tuned.detector.settings).detect(run.posteriors, run.stopped)
    result = match(scores.events, detections, GATESEARCH)
    hours = len(scores.posteriors) * HOP_S / 3600
    assert result.false_accepts / hours <= 12.0
    if tuned.doubt is None:
        assert result.misses(GATESEARCH) <= max_miss_rate * len(scores.events) + 1e-9
    else:
        assert tuned.settings == ChainSettings.all_open(gates)
        assert tuned.open_detector.point.miss_rate > max_miss_rate
    assert tune_chain(scores, DETECTOR, 12.0, max_miss_rate, work) == tuned


@pytest.mark.parametrize("seed", [1, 4])
def test_the_price_is_within_a_tenth_of_the_best_of_all_settings(seed: int) -> None:
    scores = recording(seed, hops=1500, noise=1.5)
    scores = replace(scores, signal={})
    every, held = np.ones(1500, bool), EventHops.find(scores.events, DETECTOR, 1500)
    least = work(run_chain(scores, ChainSettings.all_open(1)).activities())
    for _, is_open in gate_choices(scores.gates[:, 0], every, find_thresholds(scores.gates[:, 0], held.mark())):
        run = collect_run(scores, (every, every, is_open))
        if work(run.activities()) < least:
            outputs = SceneOutputs(run.posteriors, scores.events, run.stopped)
            if tune_detector([outputs], DETECTOR, 24.0, points=6).point.miss_rate <= 0.1 + 1e-9:
                least = work(run.activities())
    assert tune_chain(scores, DETECTOR, 24.0, 0.1, work).price <= 1.1 * least


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([0.0, 0.02, 0.1]))
def test_a_network_that_misses_too_much_still_gets_gates(seed: int, rise: float) -> None:
    scores = recording(seed, noise=1.5)
    open_misses = tune_chain(scores, DETECTOR, 12.0, 0.0, work).open_detector.point.miss_rate
    tuned = tune_chain(scores, DETECTOR, 12.0, 0.0, work, max_miss_rise=rise)
    assert tuned.detector.point.miss_rate <= open_misses + rise + 1e-9
    assert rise or tuned == tune_chain(scores, DETECTOR, 12.0, 0.0, work)


def test_perfect_gates_open_at_events_only() -> None:
    scores = recording(0)
    tuned = tune_chain(scores, DETECTOR, 12.0, 0.05, work)
    assert tuned.doubt is None
    assert tuned.activities[-1].open_share < 0.15
    assert tuned.price < 0.3 * work([Activity(1.0, 0.0)] * 3)


def test_where_openings_are_expensive_a_gate_opens_less_often() -> None:
    scores = recording(1, noise=1.5)

    def price(catch_up: float) -> Any:
        return lambda each: each[-1].openings * catch_up + each[-1].open_share

    cheap, expensive = (tune_chain(scores, DETECTOR, 12.0, 0.1, price(catch_up)) for catch_up in (0.0, 100.0))
    assert expensive.activities[-1].openings < cheap.activities[-1].openings


def test_a_gate_on_the_signal_stands_only_where_it_pays() -> None:
    scores = recording(0)
    assert tune_chain(scores, DETECTOR, 12.0, 0.05, work).settings.signal is not None
    expensive = tune_chain(scores, DETECTOR, 12.0, 0.05, work, signal_prices={"spread": 10.0})
    assert expensive.settings.signal is None


def test_all_gates_stay_open_if_no_setting_keeps_the_misses_within_the_limit() -> None:
    scores = recording(2, noise=3.0)
    tuned = tune_chain(scores, DETECTOR, 0.0, 0.0, work)
    assert tuned.doubt is not None and "all gates stay open, which misses" in tuned.doubt
    assert tuned.settings == ChainSettings.all_open(1)
    assert tuned.activities[-1].open_share == 1.0


def test_gates_pass_a_window_of_the_target_share_of_events() -> None:
    scores = recording(3, noise=2.0)
    tuned = tune_chain(scores, DETECTOR, 60.0, 0.5, work, min_gate_recall=0.98)
    assert EventHops.find(scores.events, DETECTOR, 3000).recall(run_chain(scores, tuned.settings).stopped) >= 0.98


def test_without_events_all_gates_stay_open() -> None:
    scores = recording(0, events=0)
    tuned = tune_chain(scores, DETECTOR, 12.0, 0.1, work)
    assert tuned.settings == ChainSettings.all_open(1) and math.isinf(tuned.settings.gates[0].threshold)
