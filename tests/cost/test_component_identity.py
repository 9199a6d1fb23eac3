"""Tests of the identity of components: equal blocks share their readings, and unequal blocks do not."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, fx, nn

from gatesearch.cost.blocks import Component
from gatesearch.cost.component_identity import identity

LAYERS = {
    "conv": {"kernel_size": [1, 3], "stride": [1, 2], "padding": [0, 1], "bias": [True, False], "groups": [1, 4]},
    "pool": {"kernel_size": [2, 3], "stride": [1, 2], "ceil_mode": [True, False]},
    "norm": {"eps": [1e-5, 1e-3], "affine": [True, False]},
    "act": {"negative_slope": [0.01, 0.2]},
}
CLASSES = {"conv": nn.Conv2d, "pool": nn.AvgPool2d, "norm": nn.BatchNorm2d, "act": nn.LeakyReLU}
CHANNELS = {"conv": {"in_channels": 4, "out_channels": 4}, "norm": {"num_features": 4}}


@st.composite
def layers(draw: Any) -> tuple[str, dict[str, Any]]:
    kind = draw(st.sampled_from(sorted(LAYERS)))
    return kind, {name: draw(st.sampled_from(values)) for name, values in LAYERS[kind].items()}


class Block(nn.Module):
    """A block whose modules have drawn names; with ``adds``, its input is added to its output."""

    def __init__(self, chain: list[tuple[str, dict[str, Any]]], names: list[str], adds: bool) -> None:
        super().__init__()
        self.names, self.adds = names, adds
        for name, (kind, options) in zip(names, chain, strict=True):
            self.add_module(name, CLASSES[kind](**CHANNELS.get(kind, {}), **options))

    def forward(self, x: Tensor) -> Tensor:
        hidden = x
        for name in self.names:
            hidden = self.get_submodule(name)(hidden)
        return hidden + x.mean() if self.adds else hidden


def component(chain: list[tuple[str, dict[str, Any]]], names: list[str], adds: bool, size: int = 16) -> Component:
    stage = fx.symbolic_trace(Block(chain, names, adds).eval())
    return Component(stage, torch.zeros(2, 4, size, size), "block")


NAMES = st.lists(st.text("abcxyz", min_size=2, max_size=5), min_size=3, max_size=3, unique=True)


@settings(max_examples=60, deadline=None)
@given(
    chain=st.lists(layers(), min_size=3, max_size=3),
    other=st.lists(layers(), min_size=3, max_size=3),
    names=st.tuples(NAMES, NAMES),
    adds=st.tuples(st.booleans(), st.booleans()),
)
def test_only_operations_and_shapes_decide_whether_blocks_share_readings(chain, other, names, adds):
    first, second = component(chain, names[0], adds[0]), component(other, names[1], adds[1])
    assert repr(identity(first)) == repr(identity(component(chain, names[1], adds[0])))
    assert (repr(identity(first)) == repr(identity(second))) == (chain == other and adds[0] == adds[1])
    assert repr(identity(first)) != repr(identity(component(chain, names[0], adds[0], size=12)))


def test_a_layer_called_twice_differs_from_two_equal_layers():
    class Twice(nn.Module):
        def __init__(self, shared: bool) -> None:
            super().__init__()
            self.first = nn.Conv2d(4, 4, 1)
            self.second = self.first if shared else nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x))

    shared, apart = (
        Component(fx.symbolic_trace(Twice(shared).eval()), torch.zeros(1, 4, 8, 8), "block") for shared in (True, False)
    )
    assert repr(identity(shared)) != repr(identity(apart))


def test_the_order_of_operands_is_part_of_the_identity():
    def difference(swaps: bool) -> Component:
        class Minus(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                halved = x / 2
                return halved - x if swaps else x - halved

        return Component(fx.symbolic_trace(Minus()), torch.zeros(1, 4, 8, 8), "block")

    assert repr(identity(difference(True))) != repr(identity(difference(False)))
