"""Tests that a constant before a minus or a division stays on its side when a network is converted."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gatesearch.compile import tflite
from gatesearch.runtime.program import Program

CHANNELS = 6
LAYERS: dict[str, Callable[[], nn.Module]] = {
    "convolution": lambda: nn.Conv2d(2, CHANNELS, 1),
    "depthwise": lambda: nn.Sequential(nn.Conv2d(2, CHANNELS, 1), nn.Conv2d(CHANNELS, CHANNELS, 3, groups=CHANNELS)),
    "norm": lambda: nn.Sequential(nn.Conv2d(2, CHANNELS, 3), nn.Sigmoid(), nn.BatchNorm2d(CHANNELS)),
    "sigmoid": lambda: nn.Sequential(nn.Conv2d(2, CHANNELS, 1), nn.Sigmoid()),
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(72, CHANNELS)),
}
FUNCTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "reciprocal": lambda x, vector: torch.reciprocal(x),
    "number / x": lambda x, vector: 2 / x,
    "vector / x": lambda x, vector: vector / x,
    "power": lambda x, vector: x**-1,
    "number - x": lambda x, vector: 2 - x,
    "vector - x": lambda x, vector: vector * 3 - x,
    "rsub": lambda x, vector: torch.rsub(x, vector),
    "x - number": lambda x, vector: x - 2,
    "x / number": lambda x, vector: x / 2,
}


class Network(nn.Module):
    """A layer, a function of its output and a vector of weights, and a convolution."""

    def __init__(self, layer: str, function: str) -> None:
        super().__init__()
        self.layer, self.function = LAYERS[layer](), FUNCTIONS[function]
        shape = (CHANNELS,) if layer == "linear" else (CHANNELS, 1, 1)
        self.vector = nn.Parameter(torch.rand(shape) + 1)
        self.head = nn.Linear(CHANNELS, 3) if layer == "linear" else nn.Conv2d(CHANNELS, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.function(self.layer(x), self.vector))


@settings(max_examples=3, deadline=None)
@given(layer=st.sampled_from(sorted(LAYERS)), function=st.sampled_from(sorted(FUNCTIONS)))
@example(layer="convolution", function="reciprocal")
@example(layer="sigmoid", function="vector - x")
def test_the_program_computes_what_the_network_computes(layer: str, function: str) -> None:
    torch.manual_seed(0)
    net, x = Network(layer, function).eval(), torch.randn(1, 2, 6, 6)
    with torch.no_grad():
        expected = tflite.channel_last(net(x).numpy())
    [output] = Program(tflite.convert(net, x), "litert")(tflite.channel_last(x.numpy()))
    assert output == pytest.approx(expected, rel=1e-2, abs=1e-2 * float(abs(expected).max()))
