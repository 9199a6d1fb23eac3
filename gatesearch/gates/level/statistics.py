"""One number of a window of samples, before any front end: spread, level or flatness, in whole numbers.

What a device computes: int16 samples in, int64 sums, no product of samples for spread and level. The same functions
take arrays of numpy and of torch and give the same to the bit, so they are the reference of a kernel in C.

Each statistic is computed in two steps: one number a frame, then one number of the sums of these and of their squares.
So a stream computes only the numbers of new frames; see :mod:`gatesearch.gates.level.hops`.

The magnitude of a frame is the sum of its absolute samples. Its logarithm counts for that of the energy: over 1,621
words and 320 clips of background noise of Speech Commands, at a threshold that 99 % of the words pass, the spread of
log energies stops 93.8 % of the noise and that of log magnitudes 94.4 % (in real numbers), with half the bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from gatesearch.errors import DataError, unknown
from gatesearch.gates.level.integers import LOG_BITS, Whole, constant, log2, square_root, widen

FRACTION_BITS = 16  # a statistic counts in 2^-16 of an octave
MAX_FRAMES = 2048  # the square of a spread in those units stays below 2^62
POINTS = 64  # of the Fourier transform behind the flatness
BINS = POINTS // 2 - 1  # without the mean and the highest frequency
FILTER_BITS = 14  # a filter's weights count in 2^-14

_TIMES = np.arange(POINTS)
_ANGLES = 2 * np.pi * np.outer(np.arange(1, BINS + 1), _TIMES) / POINTS
_WINDOW = 0.5 - 0.5 * np.cos(2 * np.pi * _TIMES / POINTS)  # Hann
FILTERS = np.concatenate([np.cos(_ANGLES) * _WINDOW, np.sin(_ANGLES) * _WINDOW])
"""The real parts of the transform's bins, then the imaginary parts, with the window in them, [2 x bins, points]."""
INTEGER_FILTERS = np.round((1 << FILTER_BITS) * FILTERS).astype(np.int64)
LOG_BINS = int(log2(np.array([BINS]))[0])


@dataclass(frozen=True, slots=True)
class Statistic:
    """How one statistic is computed.

    Args:
        numbers: one number a frame, of samples [..., samples] and the samples of a frame, [..., frames].
        combine: the statistic, of the sum of a window's numbers, the sum of their squares, and their count.
        block: samples of a frame where the statistic fixes them; None where a gate chooses them.
    """

    numbers: Callable[[Any, int], Any]
    combine: Callable[[Any, Any, int], Any]
    block: int | None = None


def level(samples: Whole, frame: int) -> Whole:
    """Return the mean level of a window: of its frames' log magnitudes, in 2^-16 octaves over one step of int16.

    Args:
        samples: int16 [..., samples]; what does not fill a frame at the end is left out.
        frame: samples of a frame.

    Raises:
        DataError: there is no whole frame, or more than :data:`MAX_FRAMES`.

    >>> loud = np.full((1, 640), 8192, np.int16)
    >>> (level(loud, 320) / 2**16).round(2), (level(loud // 2, 320) / 2**16).round(2)
    (array([21.33]), array([20.33]))
    """
    return window_statistic("level", samples, frame)


def spread(samples: Whole, frame: int) -> Whole:
    """Return the standard deviation of a window's log magnitudes by frame, in 2^-16 octaves.

    Of T logarithms L it is sqrt(T sum L^2 - (sum L)^2) / T: one square root of a whole number. Steady noise of any
    loudness has little spread; speech, which starts and stops, has much. Each step is rounded down; together they stay
    within :data:`gatesearch.gates.level.integers.LOG_ERROR` octaves and one step.

    Args:
        samples: int16 [..., samples]; what does not fill a frame at the end is left out.
        frame: samples of a frame.

    Raises:
        DataError: there is no whole frame, or more than :data:`MAX_FRAMES`.

    >>> steady, burst = np.full((1, 640), 500, np.int16), np.repeat([[5, 8000]], 320, axis=1).astype(np.int16)
    >>> spread(steady, 320).item() / 2**16, round(spread(burst, 320).item() / 2**16, 2)
    (0.0, 5.19)
    """
    return window_statistic("spread", samples, frame)


def flatness(samples: Whole, frame: int = POINTS) -> Whole:
    """Return how far a window's spectrum is from flat, in 2^-16 octaves below white noise: tones and voices have more.

    The spectral flatness of a block is the geometric mean over the arithmetic mean of its spectrum; this is minus its
    logarithm, the mean over blocks of 64 samples. The spectrum is |re| + |im| of a Fourier transform behind a Hann
    window, within 3 dB of the magnitude.

    Args:
        samples: int16 [..., samples]; what does not fill a block at the end is left out.
        frame: not read; blocks have 64 samples.

    Raises:
        DataError: there is no whole block.

    >>> generator = np.random.default_rng(0)
    >>> noise = generator.normal(0, 1000, (1, 6400)).astype(np.int16)
    >>> tone = (1000 * np.sin(0.3 * np.arange(6400))[None]).astype(np.int16)
    >>> (flatness(noise) / 2**16).round(1), (flatness(tone) / 2**16).round(1)
    (array([0.2]), array([6.9]))
    """
    return window_statistic("flatness", samples, frame)


def window_statistic(name: str, samples: Whole, frame: int) -> Whole:
    """Return the statistic of that name of windows, [..., samples] to [...].

    Raises:
        UserError: there is none of that name.
        DataError: there is no whole frame.
    """
    if name not in STATISTICS:
        raise unknown("level gate", "statistic", name, STATISTICS)
    numbers = STATISTICS[name].numbers(samples, frame)
    if numbers.shape[-1] > MAX_FRAMES and STATISTICS[name].block is None:
        raise DataError(f"level: a window of {numbers.shape[-1]} frames; wanted: {MAX_FRAMES} at most")
    return STATISTICS[name].combine(numbers.sum(-1), (numbers * numbers).sum(-1), numbers.shape[-1])


def integer_threshold(values: np.ndarray, positive: np.ndarray, recall: float) -> int:
    """Return the largest whole threshold that at least ``recall`` of the positives exceed.

    It lies halfway between the last statistic that has to pass and the next smaller one of any window, rounded down.
    Without positives it is below all.

    Args:
        values: statistics of windows, whole numbers [N].
        positive: whether each window holds a positive, [N].
        recall: in (0, 1].

    >>> integer_threshold(np.array([10, 20, 40, 50]), np.array([False, False, True, True]), 1.0)
    30
    """
    passing = np.sort(values[positive])[::-1]
    if len(passing) == 0:
        return int(values.min()) - 1 if len(values) else -1
    last = int(passing[max(1, int(np.ceil(recall * len(passing) - 1e-9))) - 1])
    below = values[values < last]
    return (int(below.max()) + last) // 2 if len(below) else last - 1


def _frames(samples: Whole, frame: int) -> Whole:
    """Return samples [..., samples] as frames, int64 [..., frames, frame]."""
    count = samples.shape[-1] // frame
    if count == 0:
        raise DataError(f"level: a window of {samples.shape[-1]} samples holds no frame of {frame}")
    return widen(samples)[..., : count * frame].reshape(*samples.shape[:-1], count, frame)


def _log_magnitudes(samples: Whole, frame: int) -> Whole:
    """Return the logarithm of each frame's magnitude in 1/256 octaves, [..., frames].

    One step of int16 is added to each sample's magnitude, so that digital silence has a level, too.
    """
    return log2(abs(_frames(samples, frame)).sum(-1) + frame)


def _spectral_deficits(samples: Whole, frame: int = POINTS) -> Whole:
    """Return how far each block's spectrum is below flat, summed over its bins, in 1/256 octaves, [..., blocks]."""
    blocks = _frames(samples, POINTS)
    # Sums of 64 products of 15 and 14 bits are whole numbers below 2^53: doubles hold them exactly, in any order.
    products = _to_double(blocks) @ _to_double(constant(INTEGER_FILTERS.T.copy(), blocks))
    filtered = widen(products) >> FILTER_BITS
    spectrum = abs(filtered[..., :BINS]) + abs(filtered[..., BINS:]) + 1
    return BINS * (log2(spectrum.sum(-1)) - LOG_BINS) - log2(spectrum).sum(-1)


def _to_double(values: Whole) -> Whole:
    return values.double() if isinstance(values, Tensor) else values.astype(np.float64)


def _combine_level(total: Whole, squares: Whole, count: int) -> Whole:
    return (total << (FRACTION_BITS - LOG_BITS)) // count


def _combine_spread(total: Whole, squares: Whole, count: int) -> Whole:
    return square_root((count * squares - total * total) << 2 * (FRACTION_BITS - LOG_BITS)) // count


def _combine_flatness(total: Whole, squares: Whole, count: int) -> Whole:
    return (total << (FRACTION_BITS - LOG_BITS)) // (BINS * count)


STATISTICS = {
    "spread": Statistic(_log_magnitudes, _combine_spread),
    "level": Statistic(_log_magnitudes, _combine_level),
    "flatness": Statistic(_spectral_deficits, _combine_flatness, block=POINTS),
}
"""By name; the first is what an engineer tries first."""
