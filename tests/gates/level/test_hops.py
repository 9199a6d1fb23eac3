"""Tests that the level gate computes the same integers on a stream as on whole windows.

The level gate opens when a statistic of the signal, such as its energy, exceeds a threshold. The samples of a stream
arrive in portions of any length.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatesearch.errors import UserError
from gatesearch.gates.level import (
    STATISTICS,
    SignalFormat,
    SignalStream,
    signal_frame,
    signal_statistics,
    window_statistic,
)
from gatesearch.gates.level.statistics import POINTS


def sound(count: int, seed: int) -> Any:
    """Return a sound whose level changes between silence and full scale, int16 [count]."""
    generator = np.random.default_rng(seed)
    level = np.repeat(10 ** generator.uniform(0, 5.5, count // 200 + 1), 200)[:count]
    return (level * generator.normal(size=count)).round().clip(-32768, 32767).astype(np.int16)


@st.composite
def streams(draw: st.DrawFn, whole_frames: bool) -> tuple[Any, int, int, int]:
    """Draw samples, and the lengths of a window, a hop and a frame in samples.

    If ``whole_frames``, a hop is a multiple of a frame.
    """
    frame = draw(st.sampled_from([1, 7, 50, 64, 128]))
    block = np.lcm(frame, POINTS)
    hop = int(block) * draw(st.integers(1, 3)) if whole_frames else draw(st.integers(1, 300))
    window = draw(st.integers(max(frame, POINTS), 1500))
    samples = sound(window + draw(st.integers(0, 2000)), draw(st.integers(0, 2**31)))
    return samples, window, hop, frame


@settings(deadline=None)
@given(streams(whole_frames=True))
def test_hops_of_whole_frames_equal_windows_to_the_bit(stream: tuple[Any, int, int, int]) -> None:
    samples, window, hop, frame = stream
    windows = np.lib.stride_tricks.sliding_window_view(samples, window)[::hop]
    result = signal_statistics(samples, window, hop, frame)
    assert result.keys() == STATISTICS.keys()
    for name, values in result.items():
        assert values.dtype == np.int64
        assert values.tolist() == window_statistic(name, windows, frame).tolist()


@settings(deadline=None, max_examples=50)
@given(streams(whole_frames=False), st.sampled_from(list(STATISTICS)), st.data())
def test_blocks_of_samples_give_the_statistics_of_the_recording(
    stream: tuple[Any, int, int, int], name: str, data: st.DataObject
) -> None:
    samples, window, hop, frame = stream
    expected = signal_statistics(samples, window, hop, frame)[name].tolist()
    level = SignalStream(SignalFormat(statistic=name, window=window, hop=hop, frame=frame))
    result, read = [], 0
    for end in range(window, len(samples) + 1, hop):
        while read < end:
            piece = data.draw(st.integers(1, end - read)) if len(result) < 3 else end - read
            value = level.push(samples[read : read + piece])
            read += piece
        result.append(value)
    assert result == expected


def test_there_is_no_statistic_before_the_first_window() -> None:
    level = SignalStream(SignalFormat(statistic="level", window=100, hop=50, frame=10))
    assert level.push(sound(99, 0)) is None
    assert level.push(sound(1, 0)) is not None


@given(st.sampled_from([8000, 16000, 44100]), st.integers(1, 3000), st.integers(1, 40000))
def test_frames_are_20_ms_at_most_and_divide_a_hop_where_they_can(rate: int, hop: int, window: int) -> None:
    frame = signal_frame(rate, window, hop)
    assert 1 <= frame <= min(0.02 * rate, window)
    if hop % (rate // 50) == 0 and hop <= window:
        assert hop % frame == 0 and frame * 50 == rate


@pytest.mark.parametrize("samples", [np.zeros((100, 3), np.float32), np.zeros(100, np.float32), np.zeros((9, 8, 8))])
def test_streams_that_are_no_sound_have_no_level(samples: Any) -> None:
    assert signal_statistics(samples, 5, 1, 1) == {}


def test_impossible_signal_formats_are_refused() -> None:
    with pytest.raises(UserError, match="unknown statistic 'spred'; nearest: 'spread'"):
        SignalFormat(statistic="spred", window=100, hop=10, frame=10)
    with pytest.raises(UserError, match="a window of 50 samples holds 0 frames of 64; wanted: 1 to 2048"):
        SignalFormat(statistic="flatness", window=50, hop=10, frame=10)
    with pytest.raises(UserError, match=r"samples are float32 \[9\]; wanted: int16"):
        SignalStream(SignalFormat(statistic="level", window=100, hop=10, frame=10)).push(np.zeros(9, np.float32))
