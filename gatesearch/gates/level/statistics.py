"""One number of a window of samples, before any front end: spread, level or flatness, in whole numbers.

What a device computes: int16 samples in, int64 sums, no product of samples for spread and level. The same functions
take arrays of numpy and of torch and give the same to the bit, so they are the reference of a kernel in C.

The magnitude of a frame is the sum of its absolute samples. Its logarithm counts for that of the energy: over 1,621
words and 320 clips of background noise of Speech Commands, at a threshold that 99 % of the words pass, the spread of
log energies stops 93.8 % of the noise and that of log magnitudes 94.4 % (in real numbers), with half the bits.
"""

from __future__ import annotations

import numpy as np

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
    logs = _log_magnitudes(samples, frame)
    return (logs.sum(-1) << (FRACTION_BITS - LOG_BITS)) // logs.shape[-1]


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
    logs = _log_magnitudes(samples, frame)
    count, total = logs.shape[-1], logs.sum(-1)
    squares = count * (logs * logs).sum(-1) - total * total
    return square_root(squares << 2 * (FRACTION_BITS - LOG_BITS)) // count


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
    blocks = _frames(samples, POINTS)
    filtered = (blocks @ constant(INTEGER_FILTERS.T.copy(), blocks)) >> FILTER_BITS
    spectrum = abs(filtered[..., :BINS]) + abs(filtered[..., BINS:]) + 1
    mean = log2(spectrum.sum(-1)) - int(log2(np.array([BINS]))[0])
    below = BINS * mean.sum(-1) - log2(spectrum).sum(-1).sum(-1)
    return (below << (FRACTION_BITS - LOG_BITS)) // (BINS * blocks.shape[-2])


STATISTICS = {"spread": spread, "level": level, "flatness": flatness}


def window_statistic(name: str, samples: Whole, frame: int) -> Whole:
    """Return the statistic of that name of windows, [..., samples] to [...].

    Raises:
        UserError: there is none of that name.
        DataError: there is no whole frame.
    """
    if name not in STATISTICS:
        raise unknown("level gate", "statistic", name, STATISTICS)
    return STATISTICS[name](samples, frame)


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
    frames = _frames(samples, frame)
    if frames.shape[-2] > MAX_FRAMES:
        raise DataError(f"level: a window of {frames.shape[-2]} frames; wanted: {MAX_FRAMES} at most")
    return log2(abs(frames).sum(-1) + frame)
