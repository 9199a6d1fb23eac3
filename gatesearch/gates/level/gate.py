"""The gate module: a statistic of a waveform in float operators that converters take, and one threshold."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from gatesearch.gates.level.statistics import BINS, FILTERS, POINTS
from gatesearch.gates.modules import GateContext, GateOutput, Lowered
from gatesearch.gates.thresholds import largest_threshold

# What is added to a magnitude before its logarithm, as a share of the mean magnitude in training: 30 dB below it, about
# an int8 step of the loudest frames. Digital silence then has a level, and int8 can tell it from quiet.
FLOOR = 1 / 32


class LevelGate(nn.Module):
    """Passes a waveform [N, *shape] on as it is, and stops it by one number.

    Nothing is learned. The mean magnitude of the waveforms in training sets the floor of the logarithms, since a front
    end may have scaled them; calibration sets the threshold.

    Args:
        statistic: ``"spread"`` decides by the variance of the frames' log magnitudes, which orders windows as their
            standard deviation does; ``"level"`` by their mean; ``"flatness"`` by how far the spectrum is below flat.
        samples: of a window.
        frame: samples of a frame.
        recall: share of positives that calibration must let pass, in (0, 1].
    """

    theta: Tensor
    magnitude: Tensor
    batches: Tensor

    def __init__(self, statistic: str, samples: int, frame: int, recall: float) -> None:
        super().__init__()
        self.recall = recall
        self.register_buffer("theta", torch.tensor(-math.inf))
        self.register_buffer("magnitude", torch.tensor(1.0))
        self.register_buffer("batches", torch.tensor(0))
        self.exit: nn.Module | None = None
        self.number = Flatness(samples) if statistic == "flatness" else FrameLevels(samples, frame, statistic)

    def forward(self, hidden: Tensor) -> GateOutput:
        """Gate waveforms [N, *shape]."""
        if self.training:
            self._observe(hidden)
        return GateOutput(hidden, self.number(hidden, FLOOR * self.magnitude).squeeze(1))

    @torch.no_grad()
    def _observe(self, hidden: Tensor) -> None:
        """Take a batch into the mean magnitude."""
        self.batches += 1
        self.magnitude += (hidden.abs().mean().clamp(min=1e-6) - self.magnitude) / self.batches

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
        return Lowered(None, LoweredLevel(self.number, FLOOR * float(self.magnitude)))


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

    def forward(self, hidden: Tensor, floor: Tensor | float) -> Tensor:
        """Return the number of each waveform; ``floor`` is added to magnitudes."""
        wave = hidden.flatten(1)[:, : self.used]
        logs = _log2(self.mean(wave.abs()[:, None, :, None]).flatten(1) + floor)
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

    def forward(self, hidden: Tensor, floor: Tensor | float) -> Tensor:
        """Return the number of each waveform; ``floor`` is added to the spectrum."""
        parts = self.filters(hidden.flatten(1)[:, None, : self.used, None]).abs().flatten(2)
        spectrum = parts[:, :BINS] + parts[:, BINS:] + floor
        return (_log2(spectrum.mean(1)) - _log2(spectrum).mean(1)).mean(1, keepdim=True)


def _log2(values: Tensor) -> Tensor:
    return torch.log(values) * (1 / math.log(2))
