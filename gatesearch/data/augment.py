"""Augmentation in batches: every clip draws its own values, nothing loops over clips.

All randomness is torch's global generator; both modules pass data on unchanged in ``eval()``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gatesearch.data.types import to_float
from gatesearch.errors import UserError

QUIET = 1e-3  # noise below -60 dBFS is not amplified: it may be nothing but rounding


def _uniform(count: int, low: float, high: float, device: torch.device) -> Tensor:
    """Return ``count`` uniform values [count, 1]."""
    return torch.rand(count, 1, device=device) * (high - low) + low


def _range(key: str, values: Sequence[float]) -> tuple[float, float]:
    if len(values) != 2 or not values[0] <= values[1]:
        raise UserError(f"augment.{key}: {list(values)!r}; wanted: [lowest, highest]")
    return float(values[0]), float(values[1])


def _power(waves: Tensor) -> Tensor:
    """Return the mean square [N, 1] of waves [N, S]."""
    return torch.linalg.vecdot(waves, waves).unsqueeze(1) / waves.shape[1]


class WaveAugment(nn.Module):
    """Speed, shift, background noise and gain on waveforms [N, samples].

    Speed and shift are one linear interpolation, with zeros from outside the clip (pitch moves with speed).
    Noise is a random clip of ``noise`` from a random offset, wrapped around, of either polarity, at a random
    signal-to-noise ratio over the whole clip. The result is clipped to +-1.

    Args:
        noise: background [M, any length of at least a clip], from the training split only; None adds none.
        shift_ms: largest shift either way.
        noise_probability: share of clips that get noise.
        snr_db: lowest and highest signal-to-noise ratio.
        speed: slowest and fastest factor.
        gain_db: lowest and highest gain.
        sample_rate: samples per second.

    Raises:
        UserError: a range that runs backwards, or a value out of its range.

    >>> augment = WaveAugment(torch.randn(3, 16000), shift_ms=100, noise_probability=0.8)
    >>> augment(torch.zeros(5, 16000, dtype=torch.int16)).shape
    torch.Size([5, 16000])
    """

    noise: Tensor | None

    def __init__(
        self,
        noise: Tensor | None = None,
        shift_ms: float = 0.0,
        noise_probability: float = 0.0,
        snr_db: Sequence[float] = (0.0, 20.0),
        speed: Sequence[float] = (1.0, 1.0),
        gain_db: Sequence[float] = (0.0, 0.0),
        sample_rate: int = 16000,
    ) -> None:
        super().__init__()
        if shift_ms < 0:
            raise UserError(f"augment.shift_ms: {shift_ms!r}; wanted: 0 or more")
        if not 0 <= noise_probability <= 1:
            raise UserError(f"augment.noise_probability: {noise_probability!r}; wanted: 0 to 1")
        self.shift = shift_ms / 1000 * sample_rate
        self.noise_probability = noise_probability
        self.snr_db, self.speed, self.gain_db = (
            _range("snr_db", snr_db),
            _range("speed", speed),
            _range("gain_db", gain_db),
        )
        if self.speed[0] <= 0:
            raise UserError(f"augment.speed: {list(speed)!r}; wanted: factors above 0")
        self.noise_length = 0 if noise is None or not len(noise) else noise.shape[1]
        # Twice over, so that any offset is followed by a whole clip. Not part of a checkpoint: it is data.
        twice = torch.cat([noise, noise], 1) if noise is not None and self.noise_length else None
        self.register_buffer("noise", twice, persistent=False)

    def forward(self, waves: Tensor) -> Tensor:
        """Return augmented clips as float, [N, samples] -> [N, samples]."""
        waves = to_float(waves)
        if not self.training:
            return waves
        if self.noise is not None and self.noise_length < waves.shape[1]:
            raise ValueError(f"noise of {self.noise_length} samples for clips of {waves.shape[1]}")
        waves = self._warp(waves)
        if self.noise is not None and self.noise_probability > 0:
            waves = self._background(waves, self.noise).add_(waves)
        gain = 10 ** (_uniform(len(waves), *self.gain_db, waves.device) / 20)
        return (waves * gain).clamp_(-1, 1)

    def _warp(self, waves: Tensor) -> Tensor:
        if self.shift == 0 and self.speed == (1.0, 1.0):
            return waves
        count, samples = waves.shape
        speed = _uniform(count, *self.speed, waves.device)
        shift = _uniform(count, -self.shift, self.shift, waves.device)
        middle = (samples - 1) / 2
        # In place where it can be: fresh pages cost more than the arithmetic.
        at = torch.arange(samples, device=waves.device) - middle - shift
        at.mul_(speed).add_(middle + 1).clamp_(0, samples + 1)
        padded = nn.functional.pad(waves, (1, 2))  # a zero on each side, and one for the right neighbour
        left = at.to(torch.int64)
        here, next_one = padded.gather(1, left), padded.gather(1, left.add_(1))
        return here.lerp_(next_one, at.frac_())

    def _background(self, waves: Tensor, noise: Tensor) -> Tensor:
        count, samples = waves.shape
        device = waves.device
        which = torch.randint(len(noise), (count,), device=device)
        offset = torch.randint(self.noise_length, (count,), device=device)
        # Every window of the flat buffer as a view: picking rows of it copies each clip in one stretch.
        windows = noise.view(-1).unfold(0, samples, 1)
        clips = to_float(windows.index_select(0, which * noise.shape[1] + offset))
        wanted = _power(waves) / 10 ** (_uniform(count, *self.snr_db, device) / 10)
        scale = (wanted / _power(clips).clamp(min=QUIET**2)).sqrt()
        sign = torch.randint(2, (count, 1), device=device) * 2 - 1
        added = torch.rand(count, 1, device=device) < self.noise_probability
        return clips.mul_(scale * sign * added)


class SpecAugment(nn.Module):
    """Masks stretches of time and of frequency in features [N, 1, T, F] with zeros.

    After Park et al. 2019 (SpecAugment, section 2), without time warping. Features are normalised before, so
    that zero is their mean.

    Args:
        time_masks: stretches of time masked in every clip.
        time_width: frames in the widest; each is uniform from 0.
        freq_masks: stretches of frequency masked in every clip.
        freq_width: features in the widest; each is uniform from 0.

    Raises:
        UserError: a negative number.

    >>> masked = SpecAugment(time_masks=2, time_width=6)(torch.ones(5, 1, 49, 10))
    >>> masked.shape, bool((masked.mean((1, 2, 3)) >= (49 - 12) / 49 - 1e-6).all())
    (torch.Size([5, 1, 49, 10]), True)
    """

    def __init__(self, time_masks: int = 0, time_width: int = 0, freq_masks: int = 0, freq_width: int = 0) -> None:
        super().__init__()
        counts = {"time_masks": time_masks, "time_width": time_width}
        counts |= {"freq_masks": freq_masks, "freq_width": freq_width}
        for key, value in counts.items():
            if value < 0:
                raise UserError(f"augment.{key}: {value!r}; wanted: 0 or more")
        self.time, self.frequency = (time_masks, time_width), (freq_masks, freq_width)

    def forward(self, features: Tensor) -> Tensor:
        """Return masked features, [N, 1, T, F] -> [N, 1, T, F]."""
        if not self.training:
            return features
        count, _, frames, bins = features.shape
        keep = self._keep(count, frames, *self.time, features)[:, None, :, None]
        return features * keep * self._keep(count, bins, *self.frequency, features)[:, None, None, :]

    @staticmethod
    def _keep(count: int, length: int, masks: int, width: int, like: Tensor) -> Tensor:
        """Return 1 where kept and 0 where masked [count, length]."""
        widths = torch.randint(min(width, length) + 1, (count, masks, 1), device=like.device)
        starts = (torch.rand(count, masks, 1, device=like.device) * (length - widths + 1)).long()
        at = torch.arange(length, device=like.device)
        return ~((at >= starts) & (at < starts + widths)).any(1) * like.new_ones(())
