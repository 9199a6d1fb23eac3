"""Audio clips as NumPy arrays: types, and functions that change length, sample rate and format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import gcd
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Int16Waveform = npt.NDArray[np.int16]  # [samples] of one channel, full scale 32768
FloatWaveform = npt.NDArray[np.float64]  # [samples] of one channel, full scale 1
Sample = TypeVar("Sample", bound=np.generic)
INT16_FULL_SCALE = 32768
RESAMPLED_FRAMES = 2**19  # samples that are resampled at once


def to_int16(wave: FloatWaveform) -> Int16Waveform:
    """Convert a waveform of full scale 1 to int16; values beyond full scale are clipped.

    >>> to_int16(np.array([0.5, -1.0, 1.0])).tolist()
    [16384, -32768, 32767]
    """
    return np.clip(np.rint(wave * INT16_FULL_SCALE), -INT16_FULL_SCALE, INT16_FULL_SCALE - 1).astype(np.int16)


def fit_length(wave: npt.NDArray[Sample], samples: int) -> npt.NDArray[Sample]:
    """Crop a waveform, or pad it with zeros, equally at both ends: [any length] -> [samples].

    >>> short, long = np.array([1, 2, 3], np.int16), np.arange(5, dtype=np.int16)
    >>> fit_length(short, 5).tolist(), fit_length(long, 3).tolist()
    ([0, 1, 2, 3, 0], [1, 2, 3])
    """
    padding = samples - len(wave)
    if padding < 0:
        start = -padding // 2
        return wave[start : start + samples]
    return np.pad(wave, (padding // 2, padding - padding // 2))


def resample(wave: Int16Waveform, rate: int, new_rate: int) -> Int16Waveform:
    """Resample a waveform from ``rate`` to ``new_rate``, both in Hz.

    >>> len(resample(np.zeros(1600, np.int16), 16000, 8000))
    800
    """
    return np.concatenate(list(resample_blocks([wave], rate, new_rate)))


def resample_blocks(waves: Iterable[Int16Waveform], rate: int, new_rate: int) -> Iterator[Int16Waveform]:
    """Resample a waveform that comes in blocks, from ``rate`` to ``new_rate``, both in Hz.

    The blocks that are yielded have other lengths. Joined, they are the same to the bit however the waveform is cut.

    >>> wave = np.arange(-800, 800, dtype=np.int16)
    >>> blocks = resample_blocks([wave[:100], wave[100:]], 16000, 8000)
    >>> np.array_equal(np.concatenate(list(blocks)), resample(wave, 16000, 8000))
    True
    """
    if rate == new_rate:
        yield from waves
        return
    from scipy import signal  # a slow import, which most callers do not need

    up, down = new_rate // gcd(rate, new_rate), rate // gcd(rate, new_rate)
    # The filter of resample_poly reaches 10 max(up, down) steps of the rate up * rate to both sides of a sample. All
    # positions in the input are multiples of ``down``, so that they fall on samples of the output.
    reach = -(-(10 * max(up, down) // up + 1) // down) * down
    held, before = np.zeros(0), 0  # the samples that are still needed; ``before`` of them have been resampled
    for wave in waves:
        held = np.concatenate([held, wave])
        while (ready := min((len(held) - before - reach) // down, RESAMPLED_FRAMES // down + 1)) > 0:
            end = before + ready * down
            values = signal.resample_poly(held[: end + reach], up, down)
            yield to_int16(values[before * up // down : end * up // down] / INT16_FULL_SCALE)
            held, before = held[max(0, end - reach) :], min(end, reach)
    values = signal.resample_poly(held, up, down) if len(held) else held
    yield to_int16(values[before * up // down :] / INT16_FULL_SCALE)
