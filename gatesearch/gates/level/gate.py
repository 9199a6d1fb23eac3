"""The module of a level gate: a statistic of a waveform, in float operators, and one threshold."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from gatesearch.gates.level.statistics import BINS, FILTERS, POINTS
from gatesearch.gates.modules import GateContext, GateOutput, Lowered
from gatesearch.gates.thresholds import largest_threshold

# A floor is added to magnitudes before their logarithms. FLOOR is the floor as a share of the largest magnitude in
# training: -42 dB, or twice the distance of neighbouring int8 values. A smaller floor could round to zero in int8, and
# the logarithm of zero is infinite. Engines store different bytes for an infinite value.
FLOOR = 1 / 128


class LevelGate(nn.Module):
    """A gate that stops waveforms [N, *shape] by one statistic; waveforms that pass stay as they are.

    The gate has no trained parameters. The floor of the logarithms follows the largest magnitude in training, since a
    front end may have scaled the waveforms. Calibration sets the threshold.

    Args:
        statistic: ``"spread"``, the variance over frames of the log magnitude, which orders windows as the standard
            deviation does; ``"level"``, the mean over frames of the log magnitude; or ``"flatness"``, which says how
            far the spectrum is from a flat spectrum.
        samples: number of samples in a window.
        frame: number of samples in a frame.
        recall: share of positives that calibration must let pass, in (0, 1].
    """

    theta: Tensor
    peak: Tensor

    def __init__(self, statistic: str, samples: int, frame: int, recall: float) -> None:
        super().__init__()
        self.recall = recall
        self.register_buffer("theta", torch.tensor(-math.inf))
        self.register_buffer("peak", torch.tensor(0.0))
        self.exit: nn.Module | None = None
        self.number = Flatness(samples) if statistic == "flatness" else FrameLevels(samples, frame, statistic)

    def forward(self, hidden: Tensor) -> GateOutput:
        """Compute the logit of waveforms [N, *shape], which pass as they are."""
        if self.training:
            with torch.no_grad():
                self.peak.copy_(torch.maximum(self.peak, self.number.magnitudes(hidden).max()))
        return GateOutput(hidden, self.number(hidden, self.floor()).squeeze(1))

    def floor(self) -> Tensor:
        """Return the floor that is added to magnitudes; before any training it assumes a largest magnitude of 1."""
        return FLOOR * torch.where(self.peak > 0, self.peak, torch.ones_like(self.peak))

    def loss(self, output: GateOutput, context: GateContext) -> Tensor:
        """Return 0: the gate has no trained parameters."""
        return output.logit.new_zeros(())

    def control_parameters(self) -> Iterator[nn.Parameter]:
        """Yield nothing: the gate has no trained parameters."""
        return iter(())

    def initialise(self, saliency: Tensor) -> None:
        """Do nothing: a waveform has one channel."""

    def calibrate(self, logit: Tensor, positive: Tensor) -> None:
        """Set theta so that a share ``recall`` of the positives passes; see :func:`largest_threshold`."""
        self.theta.fill_(largest_threshold(logit, positive, self.recall))

    def lower(self) -> Lowered:
        """Return the head that export needs; all values of a waveform cross."""
        return Lowered(None, LoweredLevel(self.number, float(self.floor())))


class LoweredLevel(nn.Module):
    """The exported gate: maps waveforms [N, *shape] to (passed, logit [N, 1])."""

    def __init__(self, number: nn.Module, floor: float) -> None:
        super().__init__()
        self.number, self.floor = number, floor

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return the waveforms as they are and their logits."""
        return hidden, self.number(hidden, self.floor)


class FrameLevels(nn.Module):
    """The variance or the mean over frames of the log magnitude in octaves, [N, *shape] to [N, 1].

    A convolution with equal weights computes the mean magnitude of each frame, since a frame is too long for an int8
    pooling operator. Its weights do not train.
    """

    def __init__(self, samples: int, frame: int, statistic: str) -> None:
        super().__init__()
        self.statistic, self.used = statistic, samples // frame * frame
        self.mean = nn.Conv2d(1, 1, (frame, 1), (frame, 1), bias=False)
        nn.init.constant_(self.mean.weight, 1 / frame)
        self.mean.weight.requires_grad_(False)

    def magnitudes(self, hidden: Tensor) -> Tensor:
        """Return the mean magnitude of each frame, [N, frames]."""
        wave = hidden.flatten(1)[:, : self.used]
        frames: Tensor = self.mean(wave.abs()[:, None, :, None])
        return frames.flatten(1)

    def forward(self, hidden: Tensor, floor: Tensor | float) -> Tensor:
        """Return the statistic of each waveform; ``floor`` is added to magnitudes."""
        logs = _log2(self.magnitudes(hidden) + floor)
        mean = logs.mean(1, keepdim=True)
        return mean if self.statistic == "level" else (logs - mean).square().mean(1, keepdim=True)


class Flatness(nn.Module):
    """The distance of a waveform's spectrum from a flat spectrum in octaves, [N, *shape] to [N, 1].

    A convolution computes the Fourier transform of each block of samples. Its filters do not train.
    """

    def __init__(self, samples: int) -> None:
        super().__init__()
        self.used = samples // POINTS * POINTS
        self.filters = nn.Conv2d(1, 2 * BINS, (POINTS, 1), (POINTS, 1), bias=False)
        with torch.no_grad():
            self.filters.weight.copy_(torch.from_numpy(FILTERS).view(2 * BINS, 1, POINTS, 1))
        self.filters.weight.requires_grad_(False)

    def magnitudes(self, hidden: Tensor) -> Tensor:
        """Return the spectrum of each block, [N, bins, blocks, 1]."""
        parts = self.filters(hidden.flatten(1)[:, None, : self.used, None]).abs()
        spectrum: Tensor = parts[:, :BINS] + parts[:, BINS:]
        return spectrum

    def forward(self, hidden: Tensor, floor: Tensor | float) -> Tensor:
        """Return the statistic of each waveform; ``floor`` is added to the spectrum."""
        spectrum = self.magnitudes(hidden) + floor
        below = _log2(spectrum.mean(1, keepdim=True)) - _log2(spectrum).mean(1, keepdim=True)
        return below.flatten(1).mean(1, keepdim=True)


def _log2(values: Tensor) -> Tensor:
    return torch.log(values) * (1 / math.log(2))
