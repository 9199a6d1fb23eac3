"""Mixes the channels of a file to one waveform of full scale 1, or explains why that is impossible."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from gatesearch.data.waveforms import FloatWaveform
from gatesearch.errors import UserError

LARGEST_PEAK = 2.0  # peak over full scale (6 dB) up to which samples are clipped; a higher peak is an error
INT16_PEAKS = (256.0, 65536.0)  # a peak between these means that the file has the scale of int16
CANCELLED_POWER = 1e-3  # power of the mixed channels over their mean power (-30 dB); less means that they cancel


def mix_channels(values: npt.NDArray[np.float64], path: Path) -> tuple[FloatWaveform, bool]:
    """Return the mean of the channels, [samples, channels] -> [samples], and whether it exceeds full scale.

    Integer formats end at full scale, but a file of floats may hold any value.

    Raises:
        UserError: a value is not finite, a peak is too high for a recording, or channels cancel each other.

    >>> mix_channels(np.array([[0.5, 0.25], [1.0, 1.0]]), Path("a.wav"))
    (array([0.375, 1.   ]), False)
    """
    if not np.isfinite(values).all():
        sample, channel = np.argwhere(~np.isfinite(values))[0]
        raise UserError(f"{path}: holds {values[sample, channel]} at sample {sample}; fix it or leave it out")
    peak = float(np.abs(values).max())
    if INT16_PEAKS[0] < peak < INT16_PEAKS[1]:
        raise UserError(
            f"{path}: reaches {peak:g} where full scale is 1: its samples are int16 values stored as float; "
            "divide them by 32768, or write them as 16-bit"
        )
    if peak > LARGEST_PEAK:
        raise UserError(f"{path}: reaches {peak:g} where full scale is 1; scale it, or leave it out")
    wave: FloatWaveform = values.mean(axis=1)
    channel_power, power = float(np.square(values).mean()), float(np.square(wave).mean())
    if values.shape[1] > 1 and power < CANCELLED_POWER * channel_power:
        raise UserError(
            f"{path}: its {values.shape[1]} channels cancel each other (antiphase), so that their mean is silence; "
            "invert one channel, or keep only one"
        )
    return wave, bool(np.abs(wave).max() > 1.0)
