"""Small networks that tests draw: convolutions, sums, pools, permutations, reshapes and linear layers in any order."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

Shape = tuple[int, ...]
Layer = Callable[[Shape], nn.Module]


class Apply(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Sum(nn.Module):
    """A layer with a skip connection: the sum of its input and its output."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


def convolution(
    shape: Shape, channels: int = 0, kernel: int = 3, padding: int = 1, stride: int = 1, groups: int = 1
) -> nn.Module:
    """Return a convolution over a map or a sequence [C, ...] with a ReLU.

    For 0, ``channels`` is the number of input channels, and ``groups`` is one group for each channel.
    """
    kind = nn.Conv2d if len(shape) == 3 else nn.Conv1d
    layer = kind(shape[0], channels or shape[0], kernel, stride, padding, groups=groups or shape[0])
    return nn.Sequential(layer, nn.ReLU())


def permutation(shape: Shape) -> nn.Module:
    """Return a layer that swaps the first and the last axis of a sample."""
    return Apply(lambda x: x.transpose(1, -1))


def fold(shape: Shape) -> nn.Module:
    """Return a layer that joins axes of a map, or splits the time of a sequence."""
    if len(shape) == 3:
        return Apply(lambda x: x.flatten(2))
    return Apply(lambda x: x.unflatten(2, (2, shape[1] // 2))) if shape[1] % 2 == 0 else nn.Identity()


def split(shape: Shape) -> nn.Module:
    """Return a layer that reshapes a sample so that half of its first axis goes to the next one."""
    return Apply(lambda x: x.reshape(len(x), shape[0] // 2, shape[1] * 2, *shape[2:]))


def pool(shape: Shape, average: bool) -> nn.Module:
    """Return a pooling over pairs of values."""
    kinds = {(3, False): nn.MaxPool2d, (3, True): nn.AvgPool2d, (2, False): nn.MaxPool1d, (2, True): nn.AvgPool1d}
    return kinds[len(shape), average](2)


LAYERS: Mapping[str, Layer] = {
    "convolution": partial(convolution, channels=12),
    "strided": partial(convolution, channels=16, padding=0, stride=2),
    "depthwise": partial(convolution, groups=0),
    "residual sum": lambda shape: Sum(convolution(shape)),
    "sum of two": lambda shape: Sum(nn.Sequential(convolution(shape), convolution(shape))),
    "sigmoid": lambda shape: nn.Sigmoid(),
    "permutation": permutation,
    "fold": fold,
    "split": split,
    "maximum": partial(pool, average=False),
    "average": partial(pool, average=True),
    "dense": lambda shape: nn.Linear(shape[-1], 16),
    "mean": lambda shape: Apply(lambda x: x.mean(-1)) if len(shape) == 3 else nn.Identity(),
}
SHAPES: tuple[Shape, ...] = ((8, 64), (16, 40), (8, 12, 10), (2, 16, 16))
MIN_AXIS = 4


@st.composite
def networks(draw: st.DrawFn, min_layers: int = 2, max_layers: int = 7) -> tuple[nn.Module, Shape, list[str]]:
    """Draw a network, the shape of a sample, and the names of its layers."""
    shape = draw(st.sampled_from(SHAPES))
    layers, names, x = list[nn.Module](), list[str](), torch.zeros(1, *shape)
    for name in draw(st.lists(st.sampled_from(sorted(LAYERS)), min_size=min_layers, max_size=max_layers)):
        inner = tuple(x.shape[1:])
        if name == "split" and (inner[0] % 2 or inner[0] < 2 * MIN_AXIS):
            continue
        layer = LAYERS[name](inner).eval()
        if min(inner[1:]) < MIN_AXIS and name in ("strided", "maximum", "average"):
            continue
        with torch.no_grad():
            x = layer(x)
        layers.append(layer)
        names.append(name)
    head = draw(st.sampled_from(["none", "dense", "pool"]))
    if head == "dense":
        layers += [nn.Flatten(), nn.Linear(math.prod(x.shape[1:]), 4)]
    if head == "pool":
        layers += [nn.AdaptiveAvgPool2d(1) if x.ndim == 4 else nn.AdaptiveAvgPool1d(1), nn.Flatten()]
        layers += [nn.Linear(x.shape[1], 4)]
    return nn.Sequential(*layers).eval(), shape, [str(shape), *names, head]
