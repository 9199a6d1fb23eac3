"""Sound as arrays: the two number formats, and what brings a wave to a length, a rate and int16."""

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
    """Return a wave of full scale 1 in steps of int16; what exceeds full scale is clipped.

    >>> to_int16(np.array([0.5, -1.0, 1.0])).tolist()
    [16384, -32768, 32767]
    """
    return np.clip(np.rint(wave * INT16_FULL_SCALE), -INT16_FULL_SCALE, INT16_FULL_SCALE - 1).astype(np.int16)


def fit_length(wave: npt.NDArray[Sample], samples: int) -> npt.NDArray[Sample]:
    """Crop or pad with zeros, the same at both ends, [any] -> [samples].

    >>> short, long = np.array([1, 2, 3], np.int16), np.arange(5, dtype=np.int16)
    >>> fit_length(short, 5).tolist(), fit_length(long, 3).tolist()
    ([0, 1, 2, 3, 0], [1, 2, 3])
    """
    spare = samples - len(wave)
    if spare < 0:
        return wave[-spare // 2 : -spare // 2 + samples]
    return np.pad(wave, (spare // 2, spare - spare // 2))


def resample(wave: Int16Waveform, rate: int, new_rate: int) -> Int16Waveform:
    """Return a wave at another sample rate.

    >>> len(resample(np.zeros(1600, np.int16), 16000, 8000))
    800
    """
    if rate == new_rate:
        return wave
    from scipy import signal  # takes its time

    shared = gcd(rate, new_rate)
    values = signal.resample_poly(wave.astype(np.float64), new_rate // shared, rate // shared)
    return to_int16(values / INT16_FULL_SCALE)
