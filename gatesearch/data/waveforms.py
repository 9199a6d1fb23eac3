"""Audio clips as NumPy arrays: types, and functions that change length, sample rate and format."""

from __future__ import annotations

from math import gcd
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Int16Waveform = npt.NDArray[np.int16]  # [samples] of one channel, full scale 32768
FloatWaveform = npt.NDArray[np.float64]  # [samples] of one channel, full scale 1
Sample = TypeVar("Sample", bound=np.generic)
INT16_FULL_SCALE = 32768


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
    if rate == new_rate:
        return wave
    from scipy import signal  # a slow import, which most callers do not need

    divisor = gcd(rate, new_rate)
    values = signal.resample_poly(wave.astype(np.float64), new_rate // divisor, rate // divisor)
    return to_int16(values / INT16_FULL_SCALE)
