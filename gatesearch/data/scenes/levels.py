"""Measures levels of sound: the power and the peak of a waveform, and where a word lies in its clip."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gatesearch.data.scenes.types import Samples
from gatesearch.data.waveforms import INT16_FULL_SCALE

FRAME_S = 0.01
MARGIN_S = 0.05  # added at both ends of the active frames, because a word is quieter at its ends
# An active frame is at most 30 dB below the loudest frame, and at least 6 dB above the quietest tenth of the frames.
PEAK_RANGE_DB, FLOOR_DISTANCE_DB = 30.0, 6.0
SMALLEST_POWER = 1e-12  # power as a share of full scale, below the rounding of int16

Waveform = npt.NDArray[np.int16] | npt.NDArray[np.float32]


def power(wave: Waveform) -> float:
    """Return the mean square of a waveform of int16 values, as a share of the square of full scale."""
    values = wave.astype(np.float64)
    return float(np.mean(values * values)) / INT16_FULL_SCALE**2 if len(wave) else 0.0


def peak(wave: Waveform) -> float:
    """Return the largest magnitude of a waveform of int16 values."""
    return max(float(wave.max()), -float(wave.min())) if len(wave) else 0.0


def to_decibels(share: float) -> float:
    """Return a power as decibels of full scale; silence is -120 dB.

    >>> to_decibels(0.01), to_decibels(0.0)
    (-20.0, -120.0)
    """
    return round(10 * float(np.log10(max(share, SMALLEST_POWER))), 6)


def find_active(wave: Samples, rate: float) -> tuple[int, int]:
    """Return the first sample of the active part of a clip, and the sample after its last one.

    A frame of 10 ms is active if it is less than 30 dB below the loudest frame and more than 6 dB above the quietest
    tenth. The search is needed because a word may fill only half of a recording of one second. A clip with an even
    level is active as a whole.

    >>> wave = np.zeros(1600, np.int16)
    >>> wave[800:960] = 1000
    >>> find_active(wave, 1600)
    (720, 1040)
    """
    length = max(1, round(FRAME_S * rate))
    count = len(wave) // length
    if count < 3:
        return 0, len(wave)
    frames = wave[: count * length].reshape(count, length).astype(np.float64) / INT16_FULL_SCALE
    levels = 10 * np.log10(np.maximum(np.mean(frames * frames, axis=1), SMALLEST_POWER))
    # The threshold is the higher of two levels: 30 dB below the loudest frame, and 6 dB above the quietest tenth. It is
    # at least 3 dB below the loudest frame, so that some frames are active even in a clip of even level.
    loudest = float(levels.max())
    threshold = min(max(loudest - PEAK_RANGE_DB, float(np.quantile(levels, 0.1)) + FLOOR_DISTANCE_DB), loudest - 3)
    active = np.flatnonzero(levels >= threshold)
    margin = round(MARGIN_S * rate)
    return max(0, int(active[0]) * length - margin), min(len(wave), (int(active[-1]) + 1) * length + margin)
