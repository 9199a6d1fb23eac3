"""The gate module: a statistic of a waveform in float operators that converters take, and one threshold."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from gatesearch.gates.level.statistics import BINS, FILTERS, POINTS
from gatesearch.gates.modules import GateContext, GateOutput, Lowered
from gatesearch.gates.thresholds import largest_threshold

# What is added to magnitudes before their logarithms, as a share of the largest in training: 42 dB down, two steps of
# int8. Less can round to zero there; the logarithm of zero is infinite, and engines make different bytes of that.
FLOOR = 1 / 128


class LevelGate(nn.Module):
    """Passes a waveform [N, *shape] on as it is, and stops it by one number.

    Nothing is learned. The largest magnitude in training sets the floor of the logarithms, since a front end may have
    scaled the waveforms; calibration sets the threshold.

    Args:
        statistic: ``"spread"`` decides by the variance of the frames' log magnitudes, which orders windows as their
            standard deviation does; ``"level"`` by their mean; ``"flatness"`` by how far the spectrum is below flat.
        samples: of a window.
        frame: samples of a frame.
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
        """Gate waveforms [N, *shape]."""
        if self.training:
            with torch.no_grad():
                self.peak.copy_(torch.maximum(self.peak, self.number.magnitudes(hidden).max()))
        return GateOutput(hidden, self.number(hidden, self.floor()).squeeze(1))

    def floor(self) -> Tensor:
        """Return what is added to magnitudes; a gate that has seen no sound takes full scale as the peak."""
        return FLOOR * torch.where(self.peak > 0, self.peak, torch.ones_like(self.peak))

    def loss(self, output: GateOutput, context: GateContext) -> Tensor:
        """Return nothing for the loss: there is nothing to learn."""
        return output.logit.new_zeros(())

    def control_parameters(self) -> Iterator[nn.Parameter]:
        """Yield no parameters."""
        return iter(())

    def initialise(self, saliency: Tensor) -> None:
        """Start from nothing: a waveform has one channel."""

    def calibrate(self, logit: Tensor, positive: Tensor) -> None:
        """Set theta to the largest value that keeps the recall target; see :func:`largest_threshold`."""
        self.theta.fill_(largest_threshold(logit, positive, self.recall))

    def lower(self) -> Lowered:
        """Return what export needs: all samples cross."""
        return Lowered(None, LoweredLevel(self.number, float(self.floor())))


class LoweredLevel(nn.Module):
    """What is exported: waveforms [N, *shape] to (passed, logit [N, 1])."""

    def __init__(self, number: nn.Module, floor: float) -> None:
        super().__init__()
        self.number, self.floor = number, floor

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return what passes and the logit."""
        return hidden, self.number(hidden, self.floor)


class FrameLevels(nn.Module):
    """Variance or mean of the frames' log magnitudes in octaves, [N, *shape] to [N, 1].

    The mean over a frame is one convolution with equal weights, which do not train: a frame is too long for an int8
    pooling operator.
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
        """Return the number of each waveform; ``floor`` is added to magnitudes."""
        logs = _log2(self.magnitudes(hidden) + floor)
        mean = logs.mean(1, keepdim=True)
        return mean if self.statistic == "level" else (logs - mean).square().mean(1, keepdim=True)


class Flatness(nn.Module):
    """How far the spectrum is below flat, in octaves, [N, *shape] to [N, 1]; filters that do not train."""

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
        """Return the number of each waveform; ``floor`` is added to the spectrum."""
        spectrum = self.magnitudes(hidden) + floor
        below = _log2(spectrum.mean(1, keepdim=True)) - _log2(spectrum).mean(1, keepdim=True)
        return below.flatten(1).mean(1, keepdim=True)


def _log2(values: Tensor) -> Tensor:
    return torch.log(values) * (1 / math.log(2))
