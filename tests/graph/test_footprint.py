"""Estimates of flash and SRAM, compared with int8 files and with the arena of TensorFlow Lite Micro."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gatesearch.compile import tflite
from gatesearch.graph.footprint import program_footprint
from gatesearch.runtime.program import Program

TOLERANCE, SLACK_BYTES = 0.05, 512  # relative error, and bytes of structures that dominate small programs
CHANNELS, SIDE = 8, 8


class Apply(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Squeeze(nn.Module):
    """Multiplies each channel by a factor that two layers compute from the means of all channels."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(CHANNELS, 4, 1), nn.Conv2d(4, CHANNELS, 1)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.up(self.activation(self.down(x.mean((2, 3), keepdim=True)))))


class Nearest(nn.Module):
    """Replaces each pixel by the nearest row of a table, as vector quantisation does."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(2, rows, CHANNELS))
        self.scores = nn.Linear(CHANNELS, rows)

    def forward(self, x: Tensor) -> Tensor:
        pixels = x.permute(0, 2, 3, 1).flatten(1, 2)
        index = self.scores(pixels).argmax(-1)
        rows = nn.functional.embedding(index, self.table[0]) + nn.functional.embedding(index, self.table[1])
        return rows.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)


MIXING: dict[str, Callable[[], nn.Module]] = {
    "pointwise": lambda: nn.Conv2d(CHANNELS, CHANNELS, 1),
    "convolution": lambda: nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.ReLU()),
    "depthwise": lambda: nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=CHANNELS),
    "grouped": lambda: nn.Conv2d(CHANNELS, CHANNELS, 1, groups=2),
    "transposed": lambda: nn.Sequential(nn.MaxPool2d(2), nn.ConvTranspose2d(CHANNELS, CHANNELS, 2, 2)),
    "squeeze, SiLU": lambda: Squeeze(nn.SiLU()),
    "squeeze, ReLU": lambda: Squeeze(nn.ReLU()),
}
BETWEEN: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "leaky": lambda: nn.LeakyReLU(0.1),
    "prelu": lambda: nn.PReLU(CHANNELS),
    "hardswish": nn.Hardswish,
    "sigmoid": nn.Sigmoid,
    "clamp": lambda: nn.Hardtanh(-2.0, 2.0),
    "abs": lambda: Apply(torch.abs),
    "exp and sine": lambda: Apply(lambda x: torch.sin(torch.exp(x))),
    "product": lambda: Apply(lambda x: x * torch.tanh(x)),
    "smaller": lambda: Apply(lambda x: torch.minimum(x, torch.tanh(x))),
    "shuffle": lambda: nn.ChannelShuffle(2),
    "swap": lambda: Apply(lambda x: torch.cat(x.chunk(2, 1)[::-1], 1)),
}


class Network(nn.Module):
    """Pairs of a layer that mixes channels and a function, some with a skip, and a linear layer at the end."""

    def __init__(self, pairs: list[tuple[str, str, bool]]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, CHANNELS, 3, padding=1)
        self.blocks = nn.ModuleList(nn.Sequential(MIXING[mixing](), BETWEEN[between]()) for mixing, between, _ in pairs)
        self.skips = [skips for *_, skips in pairs]
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(CHANNELS, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block, skips in zip(self.blocks, self.skips, strict=True):
            x = x + block(x) if skips else block(x)
        return self.head(x)


def assert_memory(net: nn.Module, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    net, x = net.eval(), torch.randn(4, *shape)
    footprint = program_footprint(net, x[:1])
    model = tflite.quantise(tflite.convert(net, x[:1]), tflite.channel_last(x.numpy()))
    assert footprint.file_bytes == pytest.approx(len(model), rel=TOLERANCE, abs=SLACK_BYTES)
    assert footprint.arena_bytes == pytest.approx(Program(model, "tflm").arena_bytes, rel=TOLERANCE, abs=SLACK_BYTES)


pairs = st.tuples(st.sampled_from(sorted(MIXING)), st.sampled_from(sorted(BETWEEN)), st.booleans())


@settings(max_examples=5, deadline=None)
@given(layers=st.lists(pairs, min_size=2, max_size=5))
@example(layers=[("pointwise", "silu", True), ("transposed", "abs", False)])
@example(layers=[("grouped", "shuffle", True), ("squeeze, ReLU", "exp and sine", False)])
def test_a_network_takes_the_memory_that_is_estimated(layers: list[tuple[str, str, bool]]) -> None:
    assert_memory(Network(layers), (2, SIDE, SIDE))


@given(rows=st.integers(8, 64))
def test_a_table_in_float_counts_four_bytes_a_value(rows: int) -> None:
    net, x = Nearest(rows), torch.randn(1, CHANNELS, 4, 4)
    tables, scores = 2 * 4 * rows * CHANNELS, rows * (CHANNELS + 4)
    assert program_footprint(net, x).weight_bytes == tables + scores
    assert program_footprint(net, x, in_float=True).weight_bytes < tables  # a number of values


@settings(max_examples=2, deadline=None)
@given(values=st.integers(20, 300), outputs=st.integers(20, 300), in_float=st.booleans())
def test_a_fixed_matrix_in_a_buffer_takes_the_memory_of_the_file(values: int, outputs: int, in_float: bool) -> None:
    class Basis(nn.Module):
        basis: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("basis", torch.randn(values, outputs))
            self.head = nn.Linear(outputs, 4)

        def forward(self, x: Tensor) -> Tensor:
            y = x @ self.basis
            return self.head(y.abs() if in_float else torch.relu(y))

    assert_memory(Basis(), (values,))


def test_weights_of_equal_poolings_count_once() -> None:
    pool = [nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.AvgPool2d(2), nn.Upsample(scale_factor=2))]
    assert_memory(nn.Sequential(*pool, *pool, *pool), (CHANNELS, SIDE, SIDE))
