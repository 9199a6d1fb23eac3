"""The integer statistics of the level gate are the same in NumPy and PyTorch, and close to statistics in float."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gatesearch.errors import UserError
from gatesearch.gates.level import FRACTION_BITS, STATISTICS, integer_threshold, window_statistic
from gatesearch.gates.level.integers import LOG_ERROR, LOG_ONE, log2, square_root
from gatesearch.gates.level.statistics import BINS, FILTERS, MAX_FRAMES, POINTS

whole = st.integers(1, 2**62 - 1) | st.integers(0, 61).map(lambda bits: 2**bits) | st.integers(1, 1000)


@given(st.lists(whole, min_size=1, max_size=50))
def test_a_logarithm_is_within_its_bound_and_alike_in_both_libraries(values: list[int]) -> None:
    array = np.array(values)
    result = log2(array)
    assert np.array_equal(result, log2(torch.from_numpy(array)).numpy())
    exact = np.array([math.log2(value) for value in values])
    assert np.abs(result / LOG_ONE - exact).max() <= LOG_ERROR


def test_the_bound_of_the_logarithm_holds_over_a_whole_octave_and_is_tight() -> None:
    values = np.arange(2**16, 2**17)
    error = np.abs(log2(values) / LOG_ONE - np.log2(values)).max()
    assert 0.8 * LOG_ERROR < error <= LOG_ERROR
    assert (np.diff(log2(np.arange(1, 2**17))) >= 0).all()  # a louder frame never has a smaller logarithm


@given(st.lists(st.integers(0, 2**62 - 1) | st.integers(0, 2**31 - 1).map(lambda root: root * root), min_size=1))
def test_a_square_root_is_exact_and_alike_in_both_libraries(values: list[int]) -> None:
    array = np.array(values)
    result = square_root(array)
    assert result.tolist() == [math.isqrt(value) for value in values]
    assert np.array_equal(result, square_root(torch.from_numpy(array)).numpy())


@st.composite
def windows(draw: st.DrawFn) -> tuple[Any, int]:
    """Draw samples from silence to full scale, int16 [windows, samples], and the length of a frame."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    frame, count = draw(st.sampled_from([1, 7, 64, 160, 320])), draw(st.integers(1, 60))
    samples = max(frame * count + draw(st.integers(0, frame - 1)), POINTS)
    amplitude = draw(st.sampled_from([0, 1, 3, 100, 32768, 10**6]))
    envelope = np.repeat(generator.random((3, samples // 50 + 1)) ** 4, 50, axis=1)[:, :samples]
    wave = amplitude * envelope * generator.normal(size=(3, samples))
    return wave.round().clip(-32768, 32767).astype(np.int16), frame


@given(windows(), st.sampled_from(list(STATISTICS)))
def test_numpy_and_torch_agree_to_the_bit(window: tuple[Any, int], name: str) -> None:
    samples, frame = window
    result = window_statistic(name, samples, frame)
    assert result.dtype == np.int64 and result.shape == (3,)
    assert np.array_equal(result, window_statistic(name, torch.from_numpy(samples), frame).numpy())
    assert [int(window_statistic(name, row, frame)) for row in samples] == result.tolist()  # in any batch


@given(windows(), st.sampled_from(list(STATISTICS)))
def test_whole_numbers_are_within_their_bound_of_real_ones(window: tuple[Any, int], name: str) -> None:
    samples, frame = window
    result = window_statistic(name, samples, frame) / 2**FRACTION_BITS
    if name == "flatness":
        blocks = samples[:, : samples.shape[1] // POINTS * POINTS].reshape(3, -1, POINTS).astype(float)
        parts = np.abs(blocks @ FILTERS.T)
        spectrum = parts[..., :BINS] + parts[..., BINS:] + 1
        exact = (np.log2(spectrum.mean(-1)) - np.log2(spectrum).mean(-1)).mean(-1)
        # The code rounds each part to an integer. This changes the logarithm of small values most, so the bound is 1.6
        # octaves for quiet spectra and 0.02 octaves for loud ones.
        bound = 2 * LOG_ERROR + 2**-8 + (0.02 if spectrum.mean() > 1000 else 1.6)
    else:
        frames = np.abs(samples[:, : samples.shape[1] // frame * frame].reshape(3, -1, frame).astype(float))
        logs = np.log2(frames.sum(-1) + frame)
        exact = logs.mean(-1) if name == "level" else logs.std(-1)
        bound = LOG_ERROR + 2 * 2**-FRACTION_BITS
    assert np.abs(result - exact).max() <= bound


def test_full_scale_and_the_longest_window_do_not_overflow() -> None:
    loud = np.full((1, MAX_FRAMES * 8), -32768, np.int16)
    loud[:, : MAX_FRAMES * 4] = 0
    exact = np.log2(8 * 32768 + 8) - np.log2(8)
    assert int(window_statistic("level", loud, 8)[0]) / 2**FRACTION_BITS == pytest.approx(3 + exact / 2, abs=LOG_ERROR)
    assert int(window_statistic("spread", loud, 8)[0]) / 2**FRACTION_BITS == pytest.approx(exact / 2, abs=LOG_ERROR)


def test_impossible_windows_and_unknown_statistics_are_refused() -> None:
    samples = np.zeros((1, 100), np.int16)
    with pytest.raises(UserError, match="a window of 100 samples holds no frame of 320"):
        window_statistic("spread", samples, 320)
    with pytest.raises(UserError, match=f"{MAX_FRAMES + 1} frames; wanted: {MAX_FRAMES} at most"):
        window_statistic("level", np.zeros((1, MAX_FRAMES + 1), np.int16), 1)
    with pytest.raises(UserError, match="unknown statistic 'spred'; nearest: 'spread'"):
        window_statistic("spred", samples, 50)


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=30), st.data(), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_threshold_is_the_largest_that_keeps_the_recall(values: list[int], data: Any, recall: float) -> None:
    positive = np.array(data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values))))
    array = np.array(values)
    threshold = integer_threshold(array, positive, recall)
    if not positive.any():
        assert (array > threshold).all()
        return
    assert (array[positive] > threshold).mean() >= recall - 1e-9
    higher = array[array > threshold].min()  # the next threshold that stops more values
    assert (array[positive] > higher).mean() < recall - 1e-9
    lower = array[array <= threshold]
    if len(lower):
        assert threshold == (lower.max() + higher) // 2
