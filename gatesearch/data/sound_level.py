"""Measures the level of a recording block by block, and explains why its channels cannot be mixed to one waveform."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gatesearch.errors import UserError

LARGEST_PEAK = 2.0  # peak over full scale (6 dB) up to which samples are clipped; a higher peak is an error
INT16_PEAKS = (256.0, 65536.0)  # a peak between these means that the file has the scale of int16
CANCELLED_POWER = 1e-3  # power of the mixed channels over their mean power (-30 dB); less means that they cancel


@dataclass(slots=True)
class SoundLevel:
    """Level of the blocks that were added. The mix of a sample is the mean of its channels.

    Integer formats end at full scale, but a file of floats may hold any value.

    Args:
        samples, channels: number of samples and channels.
        bad: the first value that is not finite, and its sample; None while all values are finite.
        peak: largest magnitude in any channel; full scale is 1.
        mix_peak: largest magnitude of the mix.
        power, mix_power: sum over the samples of the channels' mean square, and of the square of the mix.

    >>> level = SoundLevel()
    >>> level.add(np.array([[0.5, 0.25], [1.0, 1.0]]))
    >>> level.peak, level.mix_peak, level.exceeds_full_scale
    (1.0, 1.0, False)
    """

    samples: int = 0
    channels: int = 0
    bad: tuple[float, int] | None = None
    peak: float = 0.0
    mix_peak: float = 0.0
    power: float = 0.0
    mix_power: float = 0.0

    @property
    def exceeds_full_scale(self) -> bool:
        """Whether the mix exceeds full scale somewhere."""
        return self.mix_peak > 1.0

    def add(self, values: npt.NDArray[np.float64]) -> None:
        """Add the next block [n, channels]."""
        if self.bad is None and not np.isfinite(values).all():
            sample, channel = np.argwhere(~np.isfinite(values))[0]
            self.bad = float(values[sample, channel]), self.samples + int(sample)
        self.samples += len(values)
        self.channels = values.shape[1]
        if self.bad is None:
            mix = values.mean(axis=1)
            self.peak = max(self.peak, float(np.abs(values).max()))
            self.mix_peak = max(self.mix_peak, float(np.abs(mix).max()))
            self.power += float(np.square(values).mean()) * len(values)
            self.mix_power += float(np.square(mix).sum())

    def check(self, path: Path) -> None:
        """Check that the blocks are a recording whose channels can be mixed.

        Raises:
            UserError: there is no sample, a value is not finite, a peak is too high for a recording, or channels cancel
                each other.
        """
        if not self.samples:
            raise UserError(f"{path}: holds no samples")
        if self.bad is not None:
            raise UserError(f"{path}: holds {self.bad[0]} at sample {self.bad[1]}; fix it or leave it out")
        if INT16_PEAKS[0] < self.peak < INT16_PEAKS[1]:
            raise UserError(
                f"{path}: reaches {self.peak:g} where full scale is 1: its samples are int16 values stored as float; "
                "divide them by 32768, or write them as 16-bit"
            )
        if self.peak > LARGEST_PEAK:
            raise UserError(f"{path}: reaches {self.peak:g} where full scale is 1; scale it, or leave it out")
        if self.channels > 1 and self.mix_power < CANCELLED_POWER * self.power:
            raise UserError(
                f"{path}: its {self.channels} channels cancel each other (antiphase), so that their mean is silence; "
                "invert one channel, or keep only one"
            )
