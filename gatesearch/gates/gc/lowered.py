"""Builds the exported head of a Gated Compression gate: folds its norm, prunes channels, scales features for int8."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatesearch.gates.gc.head import ChannelsFirst, PlaneFilters, Pool, pool_kernel

LARGEST_GAIN = 64.0
# Exponent of the gains that make the features' ranges similar, because all features share one int8 scale; 0 is no gain.
# The linear layer's weights share one int8 scale, too. With an exponent of 1, these weights would become as uneven as
# the features were. On training clips, the logit's rounding error with 0.7 was half of the error with 0 or 1.
EVENNESS = 0.7


class GateHead(Protocol):
    """The parts of a GC gate's head, in their order: layout, filters, pooling, normalisation, linear layer."""

    view: ChannelsFirst
    look: PlaneFilters
    pool: Pool
    norm: nn.BatchNorm1d
    linear: nn.Linear


def fold(gate: GateHead, channels: Sequence[int] | None) -> nn.Linear:
    """Return the linear layer with the normalisation folded in, for the given channels (None: all).

    w . (x - mean) / s + b = (w / s) . x + (b - (w / s) . mean) with s = sqrt(var + eps). In this equation, x are the
    features, w and b are the linear layer's weights and bias, and mean, var and eps are those of the normalisation.
    """
    mean, var = _statistics(gate)
    weight = gate.linear.weight * torch.rsqrt(var + gate.norm.eps)
    bias = gate.linear.bias - (weight * mean).sum(1)
    if channels is not None:
        # A pruned channel is zero, so that only its folded mean remains; the bias already holds it.
        weight = weight[:, gate.pool.features_of(channels)]
    linear = nn.Linear(weight.shape[1], 1)
    with torch.no_grad():
        linear.weight.copy_(weight)
        linear.bias.copy_(bias)
    return linear


@torch.no_grad()
def lowered_head(gate: GateHead, channels: Sequence[int] | None, shrink: nn.Module | None) -> nn.Module:
    """Return the head for the given channels (None: all), scaled so that int8 rounding changes its logit little.

    All features share one int8 scale. A feature with a small range would use only a few of the int8 values. So the
    layer before the linear layer multiplies each feature by a gain, which brings its range nearer to the largest range.
    The feature's weight in the linear layer is divided by the same gain, so that the logit does not change.

    Args:
        gate: the trained head.
        channels: indices of the channels that remain; None for all.
        shrink: the shrinkage of the activation mode; None in channel mode.
    """
    linear = fold(gate, channels)
    if len(gate.pool.shape) != 3:
        return LoweredHead(gate.view, gate.look, gate.pool, linear, shrink)
    mean, var = _statistics(gate)
    # The int8 scale follows a feature's largest values. Mean plus three standard deviations estimates them.
    size = mean + 3 * torch.sqrt(var + gate.norm.eps)
    if channels is not None:
        size = size[gate.pool.features_of(channels)]
    size = size.view(gate.pool.parts, -1)  # rows: means, maxima, class token
    # The filters' outputs share one int8 scale as well. A positive factor passes through their ReLU unchanged.
    channel_gain = torch.ones(size.shape[1]) if gate.look.is_identity else size[1].max() / size[1]
    channel_gain = channel_gain.clamp(1.0, LARGEST_GAIN) ** EVENNESS
    size = size * channel_gain
    gain = (size[1].max() / size[0]).clamp(1.0, LARGEST_GAIN) ** EVENNESS
    linear.weight /= channel_gain.repeat(len(size))
    linear.weight[:, : len(gain)] /= gain
    return LoweredHead(gate.view, gate.look.scaled(channel_gain), EvenPool(gate.pool, gain), linear, shrink)


def _statistics(gate: GateHead) -> tuple[Tensor, Tensor]:
    mean, var = gate.norm.running_mean, gate.norm.running_var
    assert mean is not None and var is not None
    return mean, var


class Shrink(nn.Module):
    """The exported shrinkage of the activation mode: relu(h - amount)."""

    amount: Tensor

    def __init__(self, amount: Tensor) -> None:
        super().__init__()
        self.register_buffer("amount", amount)

    def forward(self, hidden: Tensor) -> Tensor:
        """Shrink activations [N, *shape]."""
        return F.relu(hidden - self.amount)


class LoweredHead(nn.Module):
    """The exported head: maps the remaining activations [N, kept, ...] to (passed, logit [N, 1])."""

    def __init__(
        self, view: nn.Module, look: nn.Module, pool: nn.Module, linear: nn.Linear, shrink: nn.Module | None
    ) -> None:
        super().__init__()
        self.view, self.look, self.pool, self.linear, self.shrink = view, look, pool, linear, shrink

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return the activations that pass and the logit."""
        passed = hidden if self.shrink is None else self.shrink(hidden)
        return passed, self.linear(self.pool(self.look(self.view(passed))))


class EvenPool(nn.Module):
    """Pools a map as :class:`Pool` does, and multiplies each mean by a gain that brings it nearer to the maxima.

    Means and maxima share one int8 tensor with one scale. Without the gain, the mean over a large map would use only a
    few of the int8 values.
    """

    def __init__(self, pool: Pool, gain: Tensor) -> None:
        super().__init__()
        channels, kernel, self.class_token = len(gain), pool_kernel(pool.shape), pool.class_token
        mean = nn.Conv2d(channels, channels, kernel, groups=channels, bias=False)
        with torch.no_grad():
            mean.weight.copy_((gain / math.prod(kernel)).view(-1, 1, 1, 1).expand_as(mean.weight))
        self.mean: nn.Module = mean
        self.maximum: nn.Module = nn.MaxPool2d(kernel)

    @torch.no_grad()
    def pool_frames_first(self, time_axis: int) -> None:
        """Replace the pooling by two steps, in place: first over the frequencies of each frame, then over all frames.

        :mod:`gatesearch.graph.hops.separable` says why.

        Args:
            time_axis: index of the time axis in [C, H, W].
        """
        if not isinstance(self.mean, nn.Conv2d) or 1 in self.mean.kernel_size:
            return
        height, width = self.mean.kernel_size
        gain = self.mean.weight[:, 0, 0, 0] * height * width
        kernels = [(1, width), (height, 1)] if time_axis == 1 else [(height, 1), (1, width)]
        means = [nn.Conv2d(len(gain), len(gain), kernel, groups=len(gain), bias=False) for kernel in kernels]
        for mean, kernel, own in zip(means, kernels, (gain, torch.ones_like(gain)), strict=True):
            mean.weight.copy_((own / math.prod(kernel)).view(-1, 1, 1, 1).expand_as(mean.weight))
        self.mean, self.maximum = nn.Sequential(*means), nn.Sequential(*map(nn.MaxPool2d, kernels))

    def forward(self, hidden: Tensor) -> Tensor:
        """Map [N, C, H, W] to [N, features]."""
        pooled = [self.mean(hidden), self.maximum(hidden)]
        return torch.cat([*pooled, hidden[:, :, :1, :1]] if self.class_token else pooled, 1).flatten(1)


def pool_frames_first(head: nn.Module, time_axis: int) -> None:
    """Change every pooling over a whole map in a head, so that it first pools each frame; this changes the head itself.

    Args:
        head: a head as it is exported.
        time_axis: index of the time axis in a map [C, H, W].
    """
    for module in head.modules():
        if isinstance(module, EvenPool):
            module.pool_frames_first(time_axis)
