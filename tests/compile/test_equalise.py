"""Tests that lowering keeps the function of networks whose layers, weights or activations are shared."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from gatesearch.compile import passes
from gatesearch.compile.fold import fold_batch_norms
from gatesearch.compile.rewrites import rewrite_operators
from gatesearch.devices import profile
from gatesearch.graph.trace import trace
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan

WIDTH = 6


class Chain(nn.Module):
    """A network that calls some of its layers in a given order, each any number of times."""

    def __init__(self, layers: dict[str, nn.Module], order: list[str]) -> None:
        super().__init__()
        self.layers, self.order = nn.ModuleDict(layers), order
        self.stem, self.head = nn.Conv2d(1, WIDTH, 3, padding=1), nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for name in self.order:
            x = self.layers[name](x)
        return self.head(x.mean((2, 3)))


def layers() -> dict[str, nn.Module]:
    layers: dict[str, nn.Module] = {
        "conv": nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
        "tied": nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
        "depthwise": nn.Conv2d(WIDTH, WIDTH, 3, padding=1, groups=WIDTH),
        "norm": nn.BatchNorm2d(WIDTH),
        "relu": nn.ReLU(),
        "other_relu": nn.ReLU(inplace=True),
        "pool": nn.AvgPool2d(3, 1, 1),
        "adaptive": nn.AdaptiveAvgPool2d(4),
    }
    layers["tied"].weight = layers["conv"].weight  # type: ignore[assignment]
    norm = layers["norm"]
    assert isinstance(norm, nn.BatchNorm2d)
    norm.running_mean, norm.running_var = torch.randn(WIDTH), torch.rand(WIDTH) + 0.5
    return layers


@given(order=st.lists(st.sampled_from([*layers()]), min_size=2, max_size=9), seed=st.integers(0, 99))
def test_passes_keep_the_function_of_shared_layers(order: list[str], seed: int) -> None:
    torch.manual_seed(seed)
    net, x = Chain(layers(), order).eval(), torch.randn(16, 1, 8, 8)
    with torch.no_grad():
        # The channels' ranges become 0.1 to 10 times as large. The equalisation pass makes them similar again.
        net.stem.weight.mul_(torch.logspace(-1, 1, WIDTH).view(-1, 1, 1, 1))
        model = GatedModel(net, GatePlan((), ("app",)), (), 3).eval()
        [stage] = passes.run(model, x, profile.load("three_core"))
        expected = net(x)
        lowered = stage.program(x) + stage.logit_offset
        torch.testing.assert_close(lowered, expected.clamp(min=stage.logit_offset), atol=1e-4, rtol=1e-3)
        rewritten = rewrite_operators(trace(net).eval())
        torch.testing.assert_close(rewritten(x), expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("sizes", [((6, 6), (3, 3)), ((8, 4), (2, 2))])
def test_one_average_pool_serves_maps_of_several_sizes(sizes: tuple[tuple[int, int], ...]) -> None:
    for pool in (nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1)):
        module = rewrite_operators(nn.Sequential(pool))
        for channels, size in ((3, sizes[0]), (5, sizes[1]), (3, sizes[1])):
            x = torch.randn(2, channels, *size)
            torch.testing.assert_close(module(x), pool(x))


@pytest.mark.parametrize("size", [(3, 2), (1, 1), (6, None), 2])
def test_adaptive_maximum_pooling_is_pooling_with_a_kernel(size: object) -> None:
    pool, x = nn.AdaptiveMaxPool2d(size), torch.randn(2, 3, 6, 4)  # type: ignore[arg-type]
    assert torch.equal(rewrite_operators(nn.Sequential(pool))(x), pool(x))


@pytest.mark.parametrize("stride", [1, 2])
def test_average_pooling_that_counts_no_padding_keeps_its_function(stride: int) -> None:
    pool, x = nn.AvgPool2d(3, stride, 1, count_include_pad=False), torch.randn(2, 3, 7, 6)
    torch.testing.assert_close(rewrite_operators(nn.Sequential(pool))(x), pool(x))


def test_folding_norms_keeps_the_function_of_a_chain_with_a_shared_activation() -> None:
    act, norm = nn.ReLU(), nn.BatchNorm2d(2)
    norm.running_mean = torch.ones(2)
    block, x = nn.Sequential(nn.Conv2d(1, 2, 3), act, nn.Conv2d(2, 2, 3), act, norm).eval(), torch.randn(2, 1, 8, 8)
    expected = block(x)
    fold_batch_norms(block)
    torch.testing.assert_close(block(x), expected)
