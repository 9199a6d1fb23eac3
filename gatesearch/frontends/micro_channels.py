"""The channels of the front end ``micro``: filters, noise reduction, gain control and logarithm, in integers.

Values are uint32 in TensorFlow's microfrontend. Here they are int64, and :func:`_wrap` drops the bits above 32 where
they could occur.
"""

from __future__ import annotations

import numpy as np

from gatesearch.frontends import micro_tables as tables
from gatesearch.frontends.micro_spectrum import Array, real_spectrum

WINDOW = tables.window_table()
LEAST_SIGNAL = int(tables.MIN_SIGNAL * (1 << tables.NOISE_BITS))
GAINS = tables.gain_table()
LOGARITHMS = tables.log_table()
GAIN_FRACTION_BITS = 10


def channel_magnitudes(frames: Array, channels: int) -> Array:
    """Return the magnitude in each channel of frames of sound, int16 [N, 480] -> int64 [N, channels]."""
    filters = tables.mel_filters(channels)
    windowed = (frames.astype(np.int32) * WINDOW) >> tables.WINDOW_BITS
    largest = np.abs(windowed.astype(np.int16)).max(1).clip(0)  # -32768 has no absolute value in 16 bits
    shift = 15 - bit_length(largest)
    samples = np.zeros((tables.POINTS, len(frames)), np.int32)
    samples[: tables.FRAME] = (windowed.T << shift).astype(np.int16)
    spectrum = real_spectrum(samples, len(filters.weights))
    energies = spectrum.re.astype(np.int64) ** 2 + spectrum.im.astype(np.int64) ** 2
    return _root(energies.T @ filters.weights) >> shift[:, None]


def reduce_noise(magnitudes: Array, estimates: Array) -> tuple[Array, Array]:
    """Subtract an estimate of the stationary noise from each frame.

    Args:
        magnitudes: magnitudes of frames that follow each other, [N, frames, channels].
        estimates: the estimates after the frame before, in units of 2^-10, [N, channels].

    Returns:
        The signals, and the estimates after each frame, both [N, frames, channels].
    """
    scaled = _wrap(magnitudes << tables.SMOOTHING_BITS)
    each = np.empty_like(scaled)
    smoothing = tables.noise_smoothing(magnitudes.shape[-1])
    rest = (1 << tables.NOISE_BITS) - smoothing
    for k in range(scaled.shape[1]):
        estimates = _wrap((scaled[:, k] * smoothing + estimates * rest) >> tables.NOISE_BITS)
        each[:, k] = estimates
    subtracted = (scaled - np.minimum(each, scaled)) >> tables.SMOOTHING_BITS
    return np.maximum(subtracted, (magnitudes * LEAST_SIGNAL) >> tables.NOISE_BITS), each


def control_gain(signals: Array, estimates: Array) -> Array:
    """Return signals after gain control by channel (PCAN, Wang et al. 2017): about the ratio of signal and noise."""
    ratio = _wrap((signals * _gain(estimates)) >> tables.SNR_SHIFT)
    drop = tables.SNR_BITS - tables.GAIN_OUTPUT_BITS
    parabola = (ratio * ratio) >> 2 + tables.SNR_BITS + drop
    return np.where(ratio < 2 << tables.SNR_BITS, parabola, (ratio >> drop) - (1 << tables.GAIN_OUTPUT_BITS))


def scaled_logarithm(values: Array) -> Array:
    """Return natural logarithms of values times 8, in units of 2^-6; 0 for values of 0."""
    values = _wrap(values << tables.CORRECTION_BITS)
    positive = np.maximum(values, 2)
    exponent = bit_length(positive) - 1
    rest = positive - (1 << exponent)
    up, down = np.maximum(tables.LOG_BITS - exponent, 0), np.maximum(exponent - tables.LOG_BITS, 0)
    fraction = rest << up >> down
    segment_bits = tables.LOG_BITS - tables.LOG_SEGMENT_BITS
    segment = fraction >> segment_bits
    low, high = LOGARITHMS[segment], LOGARITHMS[segment + 1]
    # microfrontend shifts by 16 bits where 9 would interpolate, and so do we.
    step = ((high - low) * (fraction - (segment << segment_bits))) >> tables.LOG_BITS
    octaves = (exponent << tables.LOG_BITS) + fraction + low + step
    half = 1 << tables.LOG_BITS - 1
    natural = (octaves * tables.LN_2 + half) >> tables.LOG_BITS
    scaled = ((natural << tables.LOG_SCALE_SHIFT) + half) >> tables.LOG_BITS
    return np.where(values > 1, scaled, 0)


def bit_length(values: Array) -> Array:
    """Return the number of bits of integers from 0 to 2^53.

    >>> bit_length(np.array([0, 1, 2, 255, 256])).tolist()
    [0, 1, 2, 8, 9]
    """
    return np.frexp(values.astype(np.float64))[1].astype(np.int64)


def _gain(estimates: Array) -> Array:
    row = bit_length(estimates)
    base, slope, bend = np.moveaxis(GAINS[row], -1, 0)
    point = GAIN_FRACTION_BITS + 1
    shifted = estimates << np.maximum(point - row, 0) >> np.maximum(row - point, 0)
    fraction = shifted & (1 << GAIN_FRACTION_BITS) - 1
    result = (((bend * fraction) >> 5) + (slope << 5)) * fraction
    return np.where(estimates <= 1, base, ((result + (1 << 14)) >> 15) + base)


def _root(values: Array) -> Array:
    """Return square roots of integers below 2^53, rounded to the nearest integer."""
    root = np.floor(np.sqrt(values.astype(np.float64))).astype(np.int64)
    return root + (values - root * root > root)


def _wrap(values: Array) -> Array:
    return values & 0xFFFFFFFF
