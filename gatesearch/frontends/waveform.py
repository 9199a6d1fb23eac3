"""The front end ``wave`` for audio codecs: it scales waveforms to a fixed level."""

from __future__ import annotations

from torch import Tensor

from gatesearch._lib.tensors import to_float
from gatesearch.frontends.base import Frontend
from gatesearch.frontends.feature_steps import GRID, SCALE, Step
from gatesearch.frontends.grid import FEATURE_RANGE, fake_quantise

QUIETEST_RMS = 1e-3  # a root mean square (-60 dB of full scale); quieter windows are not amplified further


class Waveform(Frontend):
    """Scales waveforms to a root mean square of 1, [N, samples] to [N, 1, samples, 1].

    All windows then count equally in training, and int8 values resolve quiet windows as finely as loud ones. A codec
    sends the original level beside its codes, as one number per window.

    >>> import torch
    >>> Waveform()(torch.full((1, 4), 100, dtype=torch.int16)).flatten().tolist()
    [1.0, 1.0, 1.0, 1.0]
    """

    name = "wave"
    expects = "sound, [samples] each"
    dimensions = 1

    def forward(self, inputs: Tensor) -> Tensor:
        """Return waveforms [N, samples], scaled to a root mean square of 1, as [N, 1, samples, 1]."""
        waves = to_float(inputs)
        level = waves.square().mean(1, keepdim=True).sqrt().clamp(min=QUIETEST_RMS)
        return fake_quantise(waves / level)[:, None, :, None]

    @property
    def samples(self) -> int:
        """Number of samples in a window; 0 before :meth:`fit`."""
        return self.input_shape[0] if self.input_shape else 0

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of one window's features (1, samples, 1)."""
        return (1, self.samples, 1)

    @property
    def output_range(self) -> tuple[float, float]:
        """Smallest and largest feature."""
        return FEATURE_RANGE

    def macs(self) -> int:
        """Return the multiplications of a window: a square and a division for each sample."""
        return 2 * self.samples

    def feature_steps(self) -> list[Step]:
        """Return the steps as data: scale, divide by the level, and round to the grid."""
        return [SCALE, {"operation": "level", "least": QUIETEST_RMS}, GRID]
