"""The light decoder of Dynamic Switch Layers (DSL): causal convolutions from a site to the network's output."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

FIRST_KERNEL, LAST_KERNEL = 3, 7  # kernel sizes in frames; a last layer that upsamples has 2 * stride
FEWEST_CHANNELS = 4
LARGEST_STRIDE = 8  # a stride is larger only if the upsampling factor has no divisor from 2 to 8


class LightLayer(NamedTuple):
    """A layer of the light decoder: a causal convolution, or a transposed one if its upsampling ``up`` is above 1."""

    inputs: int
    outputs: int
    kernel: int
    up: int
    frames: int  # number of frames in the layer's output

    @property
    def macs(self) -> int:
        """Multiply-accumulates per sample."""
        return self.frames // self.up * self.inputs * self.outputs * self.kernel

    @property
    def params(self) -> int:
        """Number of weights and biases."""
        return self.inputs * self.outputs * self.kernel + self.outputs


def light_layers(shape: Sequence[int], output: Sequence[int], width: float, channels_in: int) -> list[LightLayer]:
    """Return the layers of a light decoder from a site [C, T, 1] to the output [C', S, 1].

    The first layer has ``channels_in`` input channels and ``width`` times C output channels. Each upsampling layer has
    half as many channels as the layer before, down to ``FEWEST_CHANNELS``. The last layer upsamples to the output
    itself, with overlapping frames. No convolution follows at the output's frame rate: with
    several channels, it would take longer than its number of multiplications suggests.

    >>> [layer[:4] for layer in light_layers((32, 64, 1), (1, 4096, 1), width=0.25, channels_in=32)]
    [(32, 8, 3, 1), (8, 4, 8, 8), (4, 1, 16, 8)]
    """
    channels, frames = max(FEWEST_CHANNELS, math.ceil(width * shape[0])), shape[1]
    layers = [LightLayer(channels_in, channels, FIRST_KERNEL, 1, frames)]
    *ups, last = strides(output[1] // frames) or [1]
    for stride in ups:
        narrower = max(FEWEST_CHANNELS, channels // 2)
        frames *= stride
        layers.append(LightLayer(channels, narrower, stride, stride, frames))
        channels = narrower
    return [*layers, LightLayer(channels, output[0], 2 * last if last > 1 else LAST_KERNEL, last, frames * last)]


def strides(factor: int) -> list[int]:
    """Return strides whose product is ``factor``.

    Each stride is the largest divisor, up to 8, of what remains of the factor after the strides before it. If nothing
    from 2 to 8 divides the remaining factor, the last stride is this factor.

    >>> strides(64), strides(80), strides(1), strides(11)
    ([8, 8], [8, 5, 2], [], [11])
    """
    factors = []
    while factor > 1:
        stride = max((d for d in range(2, LARGEST_STRIDE + 1) if factor % d == 0), default=factor)
        factors.append(stride)
        factor //= stride
    return factors


def light_decoder(layers: Sequence[LightLayer]) -> nn.Sequential:
    """Build the light decoder from its layers, with a ReLU behind each but the last."""
    first, *ups, last = (nn.Sequential(OrderedDict(_causal(layer))) for layer in layers)
    parts: OrderedDict[str, nn.Module] = OrderedDict(first=first, relu=nn.ReLU())
    for i, up in enumerate(ups):
        parts |= {f"up{i}": up, f"relu{i}": nn.ReLU()}
    light = nn.Sequential(OrderedDict(parts, last=last))
    for module in light.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.bias is not None:
            nn.init.zeros_(module.bias)  # with few channels, negative biases could keep every ReLU at zero
    return light


class Crop(nn.Module):
    """Cut [N, C, T, 1] to its first frames."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.frames = frames

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the first frames."""
        return hidden[:, :, : self.frames]


def _causal(layer: LightLayer) -> dict[str, nn.Module]:
    if layer.up > 1:
        up = nn.ConvTranspose2d(layer.inputs, layer.outputs, (layer.kernel, 1), (layer.up, 1))
        return {"conv": up} if layer.kernel == layer.up else {"conv": up, "crop": Crop(layer.frames)}
    return {
        "past": nn.ZeroPad2d((0, 0, layer.kernel - 1, 0)),
        "conv": nn.Conv2d(layer.inputs, layer.outputs, (layer.kernel, 1)),
    }
