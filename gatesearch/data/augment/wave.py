"""Augments waveforms: speed, shift, background noise and gain."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gatesearch._lib.tensors import to_float
from gatesearch.data.augment.arguments import check_not_negative, check_range
from gatesearch.errors import UserError

# A root mean square (-60 dB of full scale). Noise below it is treated as noise of this level, because it may consist of
# rounding errors alone.
QUIETEST_RMS = 1e-3


class WaveAugment(nn.Module):
    """Speed, shift, background noise and gain on waveforms [N, samples].

    Speed and shift are one linear interpolation, with zeros outside the clip; the pitch changes with the speed. The
    added noise is a random clip of ``noise``. It starts at a random offset, wraps around at its end, and has a random
    sign and a random signal-to-noise ratio over the whole clip. The result is clipped to +-1.

    Args:
        noise: background recordings [M, samples], each at least as long as a clip, from the training split only; None
            adds no noise.
        shift_ms: largest shift either way, in milliseconds.
        noise_probability: share of clips that get noise.
        snr_db: lowest and highest signal-to-noise ratio, in decibels.
        speed: slowest and fastest speed, as factors.
        gain_db: lowest and highest gain, in decibels.
        sample_rate: samples per second.

    Raises:
        UserError: a range is not in rising order, or a value is out of its range.

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
        check_not_negative(shift_ms=shift_ms)
        if not 0 <= noise_probability <= 1:
            raise UserError(f"augment.noise_probability: {noise_probability!r}; wanted: 0 to 1")
        self.shift = shift_ms / 1000 * sample_rate
        self.noise_probability = noise_probability
        self.snr_db = check_range("snr_db", snr_db)
        self.speed = check_range("speed", speed)
        self.gain_db = check_range("gain_db", gain_db)
        if self.speed[0] <= 0:
            raise UserError(f"augment.speed: {list(speed)!r}; wanted: factors above 0")
        self.noise_length = 0 if noise is None or not len(noise) else noise.shape[1]
        # The buffer holds the noise twice in a row, so that a whole clip follows any offset. Checkpoints do not contain
        # the noise, because it is data.
        doubled = torch.cat([noise, noise], 1) if noise is not None and self.noise_length else None
        self.register_buffer("noise", doubled, persistent=False)

    def forward(self, waves: Tensor) -> Tensor:
        """Return augmented clips as float, [N, samples] -> [N, samples].

        Raises:
            ValueError: the noise is shorter than a clip.
        """
        waves = to_float(waves)
        if not self.training:
            return waves
        if self.noise is not None and self.noise_length < waves.shape[1]:
            raise ValueError(f"noise of {self.noise_length} samples for clips of {waves.shape[1]}")
        waves = self._warp(waves)
        if self.noise is not None and self.noise_probability > 0:
            waves = self._draw_noise(waves, self.noise).add_(waves)
        gain = 10 ** (_uniform(len(waves), self.gain_db, waves.device) / 20)
        return (waves * gain).clamp_(-1, 1)

    def _warp(self, waves: Tensor) -> Tensor:
        """Change speed and position, [N, samples] -> [N, samples], by linear interpolation between two neighbours."""
        if self.shift == 0 and self.speed == (1.0, 1.0):
            return waves
        count, samples = waves.shape
        speed = _uniform(count, self.speed, waves.device)
        shift = _uniform(count, (-self.shift, self.shift), waves.device)
        middle = (samples - 1) / 2
        # Each output sample is read at one of these positions in the padded clip. Speed acts around the middle of the
        # clip. Position 1 is the first sample, because a zero stands before it. Operations are in place where possible,
        # because new memory takes more time than the arithmetic.
        positions = torch.arange(samples, device=waves.device) - middle - shift
        positions.mul_(speed).add_(middle + 1).clamp_(0, samples + 1)
        padded = nn.functional.pad(waves, (1, 2))  # a zero on each side, and one for the right neighbour
        index = positions.to(torch.int64)
        left, right = padded.gather(1, index), padded.gather(1, index.add_(1))
        return left.lerp_(right, positions.frac_())

    def _draw_noise(self, waves: Tensor, noise: Tensor) -> Tensor:
        """Return noise to add to waves [N, samples], zero where a clip gets none."""
        count, samples = waves.shape
        device = waves.device
        row = torch.randint(len(noise), (count,), device=device)
        offset = torch.randint(self.noise_length, (count,), device=device)
        # ``windows`` is a view with one row for each start in the flat buffer; selecting rows copies whole clips.
        windows = noise.view(-1).unfold(0, samples, 1)
        clips = to_float(windows.index_select(0, row * noise.shape[1] + offset))
        power = _power(waves) / 10 ** (_uniform(count, self.snr_db, device) / 10)
        scale = (power / _power(clips).clamp(min=QUIETEST_RMS**2)).sqrt()
        sign = torch.randint(2, (count, 1), device=device) * 2 - 1
        chosen = torch.rand(count, 1, device=device) < self.noise_probability
        return clips.mul_(scale * sign * chosen)


def _uniform(count: int, bounds: tuple[float, float], device: torch.device) -> Tensor:
    """Return ``count`` uniform values [count, 1]."""
    low, high = bounds
    return torch.rand(count, 1, device=device) * (high - low) + low


def _power(waves: Tensor) -> Tensor:
    """Return the mean square [N, 1] of waves [N, samples]."""
    return torch.linalg.vecdot(waves, waves).unsqueeze(1) / waves.shape[1]
