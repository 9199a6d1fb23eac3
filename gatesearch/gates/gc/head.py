"""The first part of a Gated Compression head: layout, filters over raw features, pooling.

A linear layer follows, in :mod:`gatesearch.gates.gc.modes`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

FILTERS = 16  # number of filters in each of the two layers
FRAMES, STRIDE = 5, 2  # length and stride of the first layer's filters, in frames
CONTEXT = 3  # length of the second layer's filters, in frames of the first layer's output


class ChannelsFirst(nn.Module):
    """Moves channels to the front, for the pooling of the head; tokens [T, C] become a map of T pixels [C, T, 1]."""

    def __init__(self, shape: Sequence[int], axis: int) -> None:
        super().__init__()
        self.moves, self.shape = axis > 0, map_shape(shape, axis)
        self.axis = axis + 1

    def forward(self, hidden: Tensor) -> Tensor:
        """Map [N, *shape] to [N, channels, ...]."""
        if not self.moves:
            return hidden
        last = hidden.movedim(self.axis, -1)
        # On a device, maps have their channels last. In that layout these operations move no data.
        return last.flatten(1, -2).unsqueeze(2).permute(0, 3, 1, 2)


class PlaneFilters(nn.Module):
    """Trained filters over a plane of features [1, frames, coefficients]; the identity at sites of any other shape.

    The features of a front end are such a plane. The mean and maximum of a plane alone separate classes badly, so two
    layers of filters come before the pooling. In cross-validation on real speech, at 99 % recall of keywords, one layer
    stopped 27 % of other words. Two layers stopped 37 %. They take 1.3 % of the multiplications of a DS-CNN.

    Args:
        shape: the shape of one sample at the site.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape, self.macs = tuple(shape), 0
        self.filters: nn.Sequential | None = None
        if len(shape) == 3 and shape[0] == 1:
            layers = []
            for kernel, stride in ((FRAMES, STRIDE), (CONTEXT, 1)):
                channels, frames, width = self.shape
                kernel, stride = min(kernel, frames), min(stride, frames)
                layers += [
                    nn.Conv2d(channels, FILTERS, (kernel, width), (stride, 1), bias=False),
                    nn.BatchNorm2d(FILTERS),  # without it, filters can end with zeros for every input
                    nn.ReLU(),
                ]
                self.shape = (FILTERS, (frames - kernel) // stride + 1, 1)
                self.macs += math.prod(self.shape) * channels * kernel * width
            self.filters = nn.Sequential(*layers)

    @property
    def is_identity(self) -> bool:
        """Whether the head pools the activations as they are."""
        return self.filters is None

    def scaled(self, factor: Tensor) -> PlaneFilters:
        """Return a copy whose output channels are multiplied by ``factor`` [filters]; return an identity unchanged."""
        if self.filters is None:
            return self
        copied = copy.deepcopy(self)
        assert copied.filters is not None
        norm = copied.filters[-2]
        assert isinstance(norm, nn.BatchNorm2d)
        with torch.no_grad():
            norm.weight.mul_(factor)
            norm.bias.mul_(factor)
        return copied

    def forward(self, hidden: Tensor) -> Tensor:
        """Filter activations, [N, *site.shape] to [N, *shape]."""
        return hidden if self.filters is None else self.filters(hidden)


class Pool(nn.Module):
    """Pools activations [N, *shape] to features: a mean and a maximum per channel.

    A feature map [C, H, W] is pooled over its plane, and channels by time [C, T] over time. Features [F] stay as they
    are. The pooling kernels have a fixed size, so that the exported operators are plain pooling on any core. The size
    does not depend on the number of channels that remain. A class token is the first pixel of its map. Its values
    follow the means and maxima.
    """

    def __init__(self, shape: Sequence[int], class_token: bool = False) -> None:
        super().__init__()
        self.shape, self.class_token = tuple(shape), class_token
        self.parts = (1 if len(self.shape) == 1 else 2) + class_token
        kernel = pool_kernel(self.shape)
        self.mean: nn.Module | None = None
        self.maximum: nn.Module | None = None
        if len(self.shape) == 3:
            self.mean, self.maximum = nn.AvgPool2d(kernel), nn.MaxPool2d(kernel)
        elif len(self.shape) == 2:
            self.mean, self.maximum = nn.AvgPool1d(kernel[0]), nn.MaxPool1d(kernel[0])

    def forward(self, hidden: Tensor) -> Tensor:
        """Pool activations, [N, *shape] to [N, features]."""
        if self.mean is None or self.maximum is None:
            return hidden
        pooled = [self.mean(hidden).flatten(1), self.maximum(hidden).flatten(1)]
        return torch.cat([*pooled, hidden[:, :, 0, 0]] if self.class_token else pooled, 1)

    def features_of(self, channels: Sequence[int]) -> Tensor:
        """Return the indices of the features that are pooled from the given channels."""
        index = torch.as_tensor(channels, dtype=torch.long)
        if self.mean is None:
            return index
        per_channel = pooled_size(self.shape) // 2 // self.shape[0]
        part = (index[:, None] * per_channel + torch.arange(per_channel)).flatten()
        return torch.cat([part + i * self.shape[0] * per_channel for i in range(self.parts)])


def map_shape(shape: Sequence[int], axis: int) -> tuple[int, ...]:
    """Return the shape that a head pools: ``shape`` itself if its channels come first, else a map [C, pixels, 1]."""
    return tuple(shape) if axis == 0 else (shape[axis], math.prod(shape) // shape[axis], 1)


def pool_kernel(shape: Sequence[int]) -> Any:
    """Return the kernel that pools all of a map [C, H, W] or of channels by time [C, T]."""
    if len(shape) == 3:
        return (shape[1], shape[2])
    return tuple(shape[1:])


def pooled_size(shape: Sequence[int]) -> int:
    """Return the number of features: means and maxima of the channels, or the features [F] themselves."""
    if len(shape) == 1:
        return shape[0]
    return 2 * math.prod(shape) // math.prod(pool_kernel(shape))
