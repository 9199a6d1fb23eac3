"""The constants and tables of the front end ``micro``: microWakeWord's configuration of TensorFlow's microfrontend.

The rules are those of ``tensorflow/lite/experimental/microfrontend/lib``. Where that code computes in single precision,
the functions here do too, so that the tables are equal.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from gatesearch.frontends.micro_spectrum import Array

SAMPLE_RATE = 16000  # Hz
FRAME = 480  # samples: 30 ms
POINTS = 512  # points of the Fourier transform
CHANNELS = 40  # of microWakeWord
LOW_HZ, HIGH_HZ = 125.0, 7500.0
WINDOW_BITS = 12
FILTER_BITS = 12
NOISE_BITS = 14
SMOOTHING_BITS = 10  # bits after the point in an estimate of noise
EVEN_SMOOTHING, ODD_SMOOTHING = 0.025, 0.06  # weight of a new frame in the estimate of channels 0, 2, ... and 1, 3, ...
MIN_SIGNAL = 0.05  # share of a signal that noise reduction always leaves
CORRECTION_BITS = 3  # the binary logarithm of the points, less half the bits of the filters
GAIN_STRENGTH, GAIN_OFFSET, GAIN_BITS = 0.95, 80.0, 21
GAIN_INPUT_BITS = SMOOTHING_BITS - CORRECTION_BITS
SNR_BITS = 12
SNR_SHIFT = GAIN_BITS - CORRECTION_BITS - SNR_BITS
GAIN_OUTPUT_BITS = 6
LOG_BITS = 16
LOG_SEGMENT_BITS = 7
LOG_SCALE_SHIFT = 6  # a feature is the natural logarithm times 2^6
LN_2 = round(2**LOG_BITS * np.log(2))


class Filters(NamedTuple):
    """The mel filters: ``weights`` int64 [bins, channels], and the first bin that a filter reads."""

    weights: Array
    first: int


def window_table() -> Array:
    """Return the Hann window in units of 2^-12, int32 [480]; its values lie between the samples of a periodic one."""
    turn = np.float32(2 * np.pi / FRAME) * (np.arange(FRAME, dtype=np.float32) + np.float32(0.5))
    values = np.float32(0.5) - np.float32(0.5) * np.cos(turn.astype(np.float64)).astype(np.float32)
    return np.floor(values * np.float32(1 << WINDOW_BITS) + np.float32(0.5)).astype(np.int32)


@cache
def noise_smoothing(channels: int) -> Array:
    """Return the weight of a new frame in the estimate of each channel's noise, in units of 2^-14, int64 [channels]."""
    weights = np.resize([EVEN_SMOOTHING, ODD_SMOOTHING], channels)
    return np.asarray(weights * (1 << NOISE_BITS), np.int64)


@cache
def mel_filters(channels: int) -> Filters:
    """Return triangular filters on the mel scale; each bin belongs to two neighbouring filters.

    Band i is the range between two centres. Its bins have a falling weight in channel i - 1, and the rest in channel i.
    """
    mel = _mel(np.array([LOW_HZ, HIGH_HZ], np.float32))
    spacing = np.float32(mel[1] - mel[0]) / np.float32(channels + 1)
    centres = (mel[0] + spacing * np.arange(1, channels + 2, dtype=np.float32)).astype(np.float32)
    hertz = np.float32(SAMPLE_RATE / POINTS)
    first = int(1.5 + LOW_HZ / hertz)  # the constant component never counts
    bins = _mel(np.arange(POINTS // 2, dtype=np.float32) * hertz)
    end = int(np.searchsorted(bins, centres[-1], side="right"))
    weights = np.zeros((end, channels + 2), np.int64)
    edges = np.concatenate([mel[:1], centres])
    for k in range(first, end):
        band = int(np.searchsorted(centres, bins[k], side="left"))
        share = np.float32(centres[band] - bins[k]) / np.float32(centres[band] - edges[band])
        weights[k, band] = np.floor(float(share) * (1 << FILTER_BITS) + 0.5)
        weights[k, band + 1] = np.floor((1.0 - float(share)) * (1 << FILTER_BITS) + 0.5)
    # Band 0 is the range below the first channel's centre, so its falling weights belong to no channel.
    return Filters(weights[:, 1 : channels + 1], first)


def gain_table() -> Array:
    """Return the gain over an estimate of noise as a parabola for each power of two, int64 [33, 3].

    Row i holds the value at 2^(i - 1), and the two coefficients of a parabola to 2^i. Rows 0 and 1 are for the
    estimates 0 and 1.
    """
    table = np.zeros((33, 3), np.int64)
    table[0, 0], table[1, 0] = _gain(0), _gain(1)
    for row in range(2, 33):
        start = 1 << row - 1
        end = 2 * start - 1 if row == 32 else 2 * start
        low, middle, high = _gain(start), _gain(start + start // 2), _gain(end)
        slope = 4 * (middle - low) - (high - low)
        table[row] = low, slope, high - low - slope
    return table


def log_table() -> Array:
    """Return how far log2(1 + x) lies above x for x = 0, 1/128 ... 1, in units of 2^-16, int64 [129]."""
    x = np.arange((1 << LOG_SEGMENT_BITS) + 1) / (1 << LOG_SEGMENT_BITS)
    return np.round((np.log2(1 + x) - x) * (1 << LOG_BITS)).astype(np.int64)


def _mel(hertz: Array) -> Array:
    """Return frequencies on the mel scale, by the C library's ``log1pf`` as in the reference, float32."""
    result: Array = np.float32(1127) * np.log1p(hertz / np.float32(700))
    return result


def _gain(estimate: int) -> int:
    level = np.float32(estimate) / np.float32(1 << GAIN_INPUT_BITS) + np.float32(GAIN_OFFSET)
    power = np.float32(float(level) ** -float(np.float32(GAIN_STRENGTH)))
    return min(int(np.float32(1 << GAIN_BITS) * power + np.float32(0.5)), 32767)
