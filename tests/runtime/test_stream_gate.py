"""Tests that a stream gate decides the same hop by hop as over a recording, and follows its settings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatesearch.errors import DataError
from gatesearch.runtime.stream_gate import StreamGate, StreamGateSettings


@st.composite
def recordings(draw: st.DrawFn) -> tuple[StreamGateSettings, Any, Any]:
    """Draw settings, scores [hops] with many ties, and whether the gate runs at each hop [hops]."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    hops = draw(st.integers(0, 200))
    scores = generator.normal(size=hops) * draw(st.sampled_from([1e-3, 1.0, 1e30]))
    if draw(st.booleans()):
        scores = scores.round()
    if draw(st.booleans()):
        scores = scores.astype(np.float32)
    settings = StreamGateSettings(
        threshold=draw(st.sampled_from([-math.inf, -1.0, 0.0, 0.5, math.inf]) | st.floats(-2, 2)),
        smoothing=draw(st.integers(1, 12)),
        hold=draw(st.integers(0, 12)),
    )
    return settings, scores, generator.random(hops) < draw(st.sampled_from([0.0, 0.5, 0.9, 1.0]))


@given(recordings())
def test_hop_by_hop_equals_the_whole_recording_to_the_bit(recording: tuple[StreamGateSettings, Any, Any]) -> None:
    settings, scores, runs = recording
    gate = StreamGate(settings)
    pushed = [gate.push(score if active else None) for score, active in zip(scores, runs, strict=True)]
    assert pushed == gate.decide(scores, runs).tolist()
    gate.reset()
    assert [gate.push(score if active else None) for score, active in zip(scores, runs, strict=True)] == pushed


@given(recordings())
def test_a_gate_is_open_after_a_mean_above_the_threshold_at_most_hold_hops_ago(
    recording: tuple[StreamGateSettings, Any, Any],
) -> None:
    settings, scores, runs = recording
    expected = []
    for hop in range(len(scores)):
        is_open = False
        for last in range(max(0, hop - settings.hold), hop + 1):
            start = last
            while start > 0 and runs[start - 1] and last - start + 1 < settings.smoothing:
                start -= 1
            window = scores[start : last + 1].astype(float)
            above = sum(window.tolist()) / len(window) > settings.threshold
            is_open |= bool(above and runs[last : hop + 1].all())
        expected.append(is_open)
    assert StreamGate(settings).decide(scores, runs).tolist() == expected


@given(recordings(), recordings())
def test_scores_at_hops_where_the_part_rests_are_not_read(
    recording: tuple[StreamGateSettings, Any, Any], other: tuple[StreamGateSettings, Any, Any]
) -> None:
    settings, scores, runs = recording
    gate = StreamGate(settings)
    noise = np.resize(np.append(other[1], np.nan), len(scores))
    changed = np.where(runs, scores, noise)
    assert gate.decide(changed, runs).tolist() == gate.decide(scores, runs).tolist()


def test_smoothing_and_hold_open_a_gate_less_often() -> None:
    generator = np.random.default_rng(0)
    scores, runs = generator.normal(size=10_000), np.ones(10_000, bool)

    def count_openings(**changes: int) -> int:
        is_open = StreamGate(StreamGateSettings(threshold=0.5, **changes)).decide(scores, runs)
        return int(np.count_nonzero(is_open[1:] & ~is_open[:-1]))

    assert count_openings(smoothing=5) < count_openings()
    assert count_openings(hold=5) < count_openings()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"smoothing": 0}, "smoothing: 0; wanted: a whole number from 1"),
        ({"smoothing": 1.5}, "smoothing: 1.5"),
        ({"hold": -1}, "hold: -1; wanted: a whole number from 0"),
        ({"threshold": math.nan}, "threshold: nan"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        StreamGateSettings(**{"threshold": 0.0} | changes)


def test_scores_that_are_not_finite_are_refused() -> None:
    gate = StreamGate(StreamGateSettings(threshold=0.0))
    with pytest.raises(DataError, match="a score is inf"):
        gate.push(math.inf)
    with pytest.raises(DataError, match="the score of hop 1 is not finite"):
        gate.decide(np.array([0.0, np.nan]), np.ones(2, bool))
    with pytest.raises(DataError, match=r"scores \[3\], runs \[2\]"):
        gate.decide(np.zeros(3), np.ones(2, bool))


@given(recordings(), st.lists(st.integers(1, 60), max_size=8))
def test_blocks_of_hops_equal_single_hops_to_the_bit(recording: tuple[StreamGateSettings, Any, Any], cuts: Any) -> None:
    settings, scores, _ = recording
    single, blocks = StreamGate(settings), StreamGate(settings)
    expected = [single.push(score) for score in scores]
    parts = [blocks.push_hops(part) for part in np.split(scores, np.cumsum(cuts)[np.cumsum(cuts) < len(scores)])]
    assert [value for part in parts for value in part.tolist()] == expected
    assert len(scores) == 0 or blocks.push(0.25) == single.push(0.25)
