"""The statistics of a level gate in integer arithmetic: spread, level and flatness of a window.

The functions take arrays of NumPy or of PyTorch and return the same integers for both. They are the reference for a C
kernel, which computes the same integers on a device. The kernel reads int16 samples and sums in int64. For spread and
level, it multiplies no samples.

Each statistic takes two steps. The first computes one number for each frame. The second combines the sum of these
numbers and the sum of their squares. So a stream computes only the numbers of new frames; see
:mod:`gatesearch.gates.level.hops`.

The magnitude of a frame is the sum of its absolute samples. It needs half as many bits as the energy, the sum of
squares. Both were compared on Speech Commands in floating point, at a threshold that 99 % of 1,621 words pass. The
spread of log energies stops 93.8 % of 320 clips of background noise. The spread of log magnitudes stops 94.4 %.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from gatesearch.errors import DataError, unknown
from gatesearch.gates.level.integers import LOG_BITS, Whole, constant, log2, square_root, widen

FRACTION_BITS = 16  # a statistic is in units of 2^-16 of an octave
MAX_FRAMES = 2048  # with this many frames, the square of a spread in units of 2^-16 octaves stays below 2^62
POINTS = 64  # samples in a block of the Fourier transform that flatness uses
BINS = POINTS // 2 - 1  # number of frequencies, without zero and the highest one
FILTER_BITS = 14  # a filter's weights are in units of 2^-14

_TIMES = np.arange(POINTS)
_ANGLES = 2 * np.pi * np.outer(np.arange(1, BINS + 1), _TIMES) / POINTS
_WINDOW = 0.5 - 0.5 * np.cos(2 * np.pi * _TIMES / POINTS)  # Hann
FILTERS = np.concatenate([np.cos(_ANGLES) * _WINDOW, np.sin(_ANGLES) * _WINDOW])
"""Filters of the Fourier transform with the window in them, [2 x bins, points]: real parts, then imaginary parts."""
INTEGER_FILTERS = np.round((1 << FILTER_BITS) * FILTERS).astype(np.int64)
LOG_BINS = int(log2(np.array([BINS]))[0])


@dataclass(frozen=True, slots=True)
class Statistic:
    """The two steps that compute a statistic.

    Args:
        numbers: the first step: a function of samples [..., samples] and the length of a frame, which returns one
            number for each frame, [..., frames].
        combine: the second step: a function of the sum of a window's numbers, the sum of their squares and their count,
            which returns the statistic.
        block: length of a frame in samples if the statistic fixes it; None if a gate can choose it.
    """

    numbers: Callable[[Any, int], Any]
    combine: Callable[[Any, Any, int], Any]
    block: int | None = None


def level(samples: Whole, frame: int) -> Whole:
    """Return the level of a window: the mean over frames of the log magnitude, in units of 2^-16 octaves.

    A level of 0 stands for a magnitude of one int16 step.

    Args:
        samples: int16 [..., samples]; samples at the end that do not fill a frame are not read.
        frame: number of samples in a frame.

    Raises:
        DataError: there is no whole frame, or more than :data:`MAX_FRAMES`.

    >>> loud = np.full((1, 640), 8192, np.int16)
    >>> (level(loud, 320) / 2**16).round(2), (level(loud // 2, 320) / 2**16).round(2)
    (array([21.33]), array([20.33]))
    """
    return window_statistic("level", samples, frame)


def spread(samples: Whole, frame: int) -> Whole:
    """Return the spread of a window: the standard deviation over frames of the log magnitude, in 2^-16 octaves.

    For T logarithms L it is sqrt(T sum L^2 - (sum L)^2) / T, which needs one square root of an integer. Steady noise of
    any loudness has little spread; speech, which starts and stops, has much. Each operation rounds down. The total
    error is at most :data:`gatesearch.gates.level.integers.LOG_ERROR` octaves and one step.

    Args:
        samples: int16 [..., samples]; samples at the end that do not fill a frame are not read.
        frame: number of samples in a frame.

    Raises:
        DataError: there is no whole frame, or more than :data:`MAX_FRAMES`.

    >>> steady, burst = np.full((1, 640), 500, np.int16), np.repeat([[5, 8000]], 320, axis=1).astype(np.int16)
    >>> spread(steady, 320).item() / 2**16, round(spread(burst, 320).item() / 2**16, 2)
    (0.0, 5.19)
    """
    return window_statistic("spread", samples, frame)


def flatness(samples: Whole, frame: int = POINTS) -> Whole:
    """Return the distance of a window's spectrum from a flat one, in units of 2^-16 octaves.

    White noise has a small value; tones and voices have larger values. The spectral flatness F of a block is the
    geometric mean of its spectrum divided by the arithmetic mean. The result is the mean of -log2(F) over blocks of 64
    samples. The spectrum is |re| + |im| of a Fourier transform with a Hann window; it is within 3 dB of the magnitude.

    Args:
        samples: int16 [..., samples]; samples at the end that do not fill a block are not read.
        frame: ignored, because blocks always have 64 samples.

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
    """Return the statistic ``name`` of windows, [..., samples] to [...].

    Raises:
        UserError: no statistic has this name.
        DataError: there is no whole frame.
    """
    if name not in STATISTICS:
        raise unknown("level gate", "statistic", name, STATISTICS)
    numbers = STATISTICS[name].numbers(samples, frame)
    if numbers.shape[-1] > MAX_FRAMES and STATISTICS[name].block is None:
        raise DataError(f"level: a window of {numbers.shape[-1]} frames; wanted: {MAX_FRAMES} at most")
    return STATISTICS[name].combine(numbers.sum(-1), (numbers * numbers).sum(-1), numbers.shape[-1])


def integer_threshold(values: np.ndarray, positive: np.ndarray, recall: float) -> int:
    """Return an integer threshold that a share ``recall`` of the positives exceeds, and as few others as possible.

    The threshold lies halfway between the smallest statistic that has to pass and the next smaller statistic of any
    window, rounded down. Without positives, the threshold is below all statistics.

    Args:
        values: statistics of windows, integers [N].
        positive: whether each window holds a positive, [N].
        recall: share of positives that must exceed the threshold, in (0, 1].

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
    """Split samples [..., samples] into frames, int64 [..., frames, frame]."""
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
    """Return, for each block, the log of its mean spectrum minus the log of each bin, summed over the bins.

    The result is in units of 1/256 octaves, [..., blocks].
    """
    blocks = _frames(samples, POINTS)
    # A sum of 64 products of 15 and 14 bits is an integer below 2^53. Doubles hold it exactly, in any order of the sum.
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
"""The statistics by name; the first is the default of the gate kind ``level``."""
