"""Tests that a network costs the same however its functions are written.

A spelling is one way to write a function in PyTorch: by modules, functions, operators or einsum. Further tests check
that work without products has a price, and that a gate that stops nothing saves nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from gatesearch.cost.frontend import FrontendWork
from gatesearch.cost.model import CostModel
from gatesearch.cost.price import Price
from gatesearch.cost.sensitivity import scale_constants
from gatesearch.cost.sources.board import kernels_of
from gatesearch.cost.table_reader import build_table
from gatesearch.devices.profile import Device, load
from gatesearch.devices.timing import DEFAULT_MACS_PER_VALUE
from gatesearch.graph.sites import cut_sites, layer_sites
from gatesearch.plan import GatePlan, PlacedGate
from tests.cost.test_model import SHARES, constant, core, model

DEVICES = ["bit_serial", "cortex_a", "made up"]


def device_of(name: str) -> Device:
    """Return a shipped device, or a made-up device whose core has a count of instructions but no kernel table."""
    if name != "made up":
        return load(name)
    timing = {
        "model": "instructions",
        "instructions_per_mac": constant(2.0, "instructions/MAC"),
        "frontend_instructions_per_mac": constant(4.0, "instructions/MAC"),
        "clock_mhz": constant(100.0, "MHz"),
        "instructions_per_cycle": constant(1.0, "instructions/cycle"),
    }
    sense = {"core": "mcu", "sensor_mw": constant(0.2, "mW")}
    written = {"schema_version": 1, "name": "made_up", "cores": [core("mcu", timing, 10.0, 0.05)], "sense": sense}
    return Device.model_validate(written)


class Modules(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.depthwise, self.linear = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Linear(8, 3)
        self.relu, self.pool, self.whole = nn.ReLU(), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.depthwise(self.pool(self.relu(self.norm(self.conv(x))))))
        return self.linear(self.flatten(self.whole(x)))


class Functions(Modules):
    def forward(self, x: Tensor) -> Tensor:
        x = functional.avg_pool2d(functional.relu(self.norm(self.conv(x))), 2)
        x = functional.relu(self.depthwise(x))
        return self.linear(functional.adaptive_avg_pool2d(x, 1).flatten(1))


class Weights(Modules):
    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(functional.conv2d(x, self.conv.weight, self.conv.bias, padding=1)))
        x = self.depthwise(functional.avg_pool2d(x, 2)).relu()
        return functional.linear(torch.flatten(x.mean((2, 3)), 1), self.linear.weight, self.linear.bias)


class Attention(nn.Module):
    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.batch_first = batch_first
        self.attention, self.linear = nn.MultiheadAttention(16, 2, batch_first=batch_first), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.batch_first else x.transpose(0, 1)
        y = self.attention(x, x, x, need_weights=False)[0]
        return self.linear(y.mean(1 if self.batch_first else 0))


def figures(net: nn.Module, x: Tensor, name: str) -> tuple[float, ...]:
    net.eval()
    device, sites, layers = device_of(name), cut_sites(net, x[:1]), layer_sites(net, x[:1])
    table = build_table(net, sites, x, device, [])
    cost = CostModel(device, table, sites, FrontendWork(1000), 1.0, {"positive": 1.0}, layers, kernels_of(device))
    plan = GatePlan((), (device.core_names[0],))
    price, [stage] = cost.price(plan, {"positive": [1.0]}), cost.stages(plan)
    return price.expected_latency_us, price.energy.total_uj, price.expected_macs, stage.flash_bytes, stage.sram_bytes


@pytest.mark.parametrize("name", ["cortex_a", "bit_serial"])
def test_a_convolutional_network_costs_the_same_in_every_spelling(name: str) -> None:
    x = torch.randn(2, 2, 8, 8)
    one, *others = (figures(kind(), x, name) for kind in (Modules, Functions, Weights))
    assert one[2] > 0
    for other in others:
        assert other == pytest.approx(one)


@pytest.mark.parametrize("name", ["cortex_a", "bit_serial"])
def test_attention_costs_the_same_with_either_order_of_axes(name: str) -> None:
    x = torch.randn(2, 6, 16)
    first, second = (figures(Attention(batch_first), x, name) for batch_first in (True, False))
    assert first == pytest.approx(second) and first[2] > 0


class Between(nn.Module):
    """A function between two layers, with a mask for attention and a scale for each channel."""

    mask: Tensor
    scale: Tensor

    def __init__(self, function: Function, channels: int, is_image: bool) -> None:
        super().__init__()
        self.function, self.is_image = function, is_image
        self.inward = nn.Conv2d(2, channels, 3, padding=1) if is_image else nn.Linear(6, 3 * channels)
        self.outward = nn.Linear(channels, 3)
        self.register_buffer("mask", torch.full((8, 8), -1e9).triu(1))
        self.register_buffer("scale", torch.rand(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.function(self, self.inward(x))
        return self.outward(y.mean((2, 3)) if self.is_image else y.mean(1))


Function = Callable[[Between, Tensor], Tensor]


def attend(weigh: Callable[[Between, Tensor, Tensor], Tensor]) -> Function:
    def function(net: Between, y: Tensor) -> Tensor:
        q, k, v = (y[..., i::3].unflatten(-1, (2, -1)).transpose(1, 2) for i in range(3))
        return (weigh(net, q, k) @ v).transpose(1, 2).flatten(2)

    return function


def attend_fused(is_masked: bool = False, **options: Any) -> Function:
    def function(net: Between, y: Tensor) -> Tensor:
        q, k, v = (y[..., i::3].unflatten(-1, (2, -1)).transpose(1, 2) for i in range(3))
        masks = {"attn_mask": net.mask} if is_masked else {}
        return functional.scaled_dot_product_attention(q, k, v, **masks, **options).transpose(1, 2).flatten(2)

    return function


# Each list holds one function in several spellings.
IMAGE_SPELLINGS: dict[str, list[Function]] = {
    "sum": [lambda net, y: y + y.flip(1), lambda net, y: torch.add(y, y.flip(1)), lambda net, y: y.add_(y.flip(1))],
    "difference": [lambda net, y: y - y.flip(1), lambda net, y: y + (-y.flip(1))],
    "twice": [lambda net, y: y * 2, lambda net, y: y + y, lambda net, y: y.mul_(2.0), lambda net, y: y / 0.5],
    "swish": [
        lambda net, y: functional.silu(y),
        lambda net, y: y * y.sigmoid(),
        lambda net, y: functional.silu(y, inplace=True),
        lambda net, y: torch.sigmoid(y).mul(y),
    ],
    "hard swish": [
        lambda net, y: functional.hardswish(y),
        lambda net, y: y * functional.relu6(y + 3) / 6,
        lambda net, y: y * functional.hardsigmoid(y),
    ],
    "gelu": [
        lambda net, y: functional.gelu(y),
        lambda net, y: functional.gelu(y, approximate="tanh"),
        lambda net, y: y * 0.5 * (1 + torch.erf(y / 2**0.5)),
    ],
    "gated": [
        lambda net, y: functional.glu(torch.cat([y, y.flip(1)], 1), 1),
        lambda net, y: (z := torch.cat([y, y.flip(1)], 1))[:, : y.shape[1]] * z[:, y.shape[1] :].sigmoid(),
    ],
    "channel scales": [lambda net, y: y * net.scale, lambda net, y: torch.einsum("bchw,cij->bchw", y, net.scale)],
    "rectifier": [
        lambda net, y: functional.relu(y),
        lambda net, y: y.clamp(min=0),
        lambda net, y: torch.relu_(y),
        lambda net, y: functional.threshold(y, 0, 0),
    ],
    "average": [
        lambda net, y: functional.avg_pool2d(y, 2),
        lambda net, y: functional.adaptive_avg_pool2d(y, 4),
        lambda net, y: functional.interpolate(y, scale_factor=0.5, mode="area"),
    ],
    "largest": [
        lambda net, y: functional.max_pool2d(y, 2),
        lambda net, y: functional.adaptive_max_pool2d(y, 4),
        lambda net, y: functional.max_pool2d(y, 2, return_indices=True)[0],
    ],
    "average of all": [
        lambda net, y: functional.adaptive_avg_pool2d(y, 1),
        lambda net, y: y.mean((2, 3), keepdim=True),
        lambda net, y: y.sum((2, 3), keepdim=True) / 64,
        lambda net, y: functional.avg_pool2d(y, 8),
    ],
    "larger": [
        lambda net, y: functional.interpolate(y, scale_factor=2),
        lambda net, y: functional.interpolate(y, scale_factor=2, mode="nearest-exact"),
    ],
    "softmax": [lambda net, y: y.softmax(1), lambda net, y: (z := y.exp()) / z.sum(1, keepdim=True)],
}
SEQUENCE_SPELLINGS: dict[str, list[Function]] = {
    "attention": [
        attend_fused(),
        attend(lambda net, q, k: (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)),
        attend(lambda net, q, k: functional.softmax((q * 0.5) @ k.transpose(-1, -2), -1)),
        attend(lambda net, q, k: torch.einsum("bhtd,bhsd->bhts", q, k).softmax(-1)),
    ],
    "masked attention": [
        attend_fused(is_causal=True),
        attend_fused(is_masked=True),
        attend(lambda net, q, k: (q @ k.mT + net.mask).softmax(-1)),
        attend(lambda net, q, k: (q @ k.mT).masked_fill(net.mask < 0, -1e9).softmax(-1)),
        attend(lambda net, q, k: (q @ k.mT).add_(net.mask).softmax(-1)),
    ],
}


@settings(max_examples=25)
@given(data=st.data())
def test_a_function_costs_the_same_in_every_spelling(data: st.DataObject) -> None:
    is_image = data.draw(st.booleans())
    spellings = IMAGE_SPELLINGS if is_image else SEQUENCE_SPELLINGS
    functions = spellings[data.draw(st.sampled_from(sorted(spellings)))]
    name, channels = data.draw(st.sampled_from(DEVICES)), data.draw(st.sampled_from([4, 8]))
    x = torch.randn(2, 2, 8, 8) if is_image else torch.randn(2, 8, 6)
    first, *others = (figures(Between(function, channels, is_image), x, name)[:3] for function in functions)
    bare = figures(Between(lambda net, y: y if is_image else y[..., :channels], channels, is_image), x, name)
    assert first[2] >= bare[2] > 0
    for other in others:
        assert other == pytest.approx(first, rel=2e-3)  # a spelling in two operators adds the overhead of a second call


ELEMENTWISE: dict[str, Function] = {
    "softmax": lambda net, y: y.softmax(1),
    "gelu": lambda net, y: functional.gelu(y),
    "norm": lambda net, y: functional.layer_norm(y, y.shape[1:]),
    "instance norm": lambda net, y: functional.instance_norm(y),
    "gate": lambda net, y: y * y.mean((2, 3), keepdim=True).sigmoid(),
    "skip": lambda net, y: y + y.flip(1),
    "size": lambda net, y: functional.interpolate(y, scale_factor=2, mode="bilinear"),
    "shuffle": lambda net, y: functional.channel_shuffle(y, 2),
    "rolled": lambda net, y: torch.roll(y, 1, 2),
    "pool": lambda net, y: functional.max_pool2d(y, 3, 1, 1),
    "signs": lambda net, y: torch.where(y > 0, y, -y),
    "sorted": lambda net, y: y.sort(1)[0],
    "unlisted": lambda net, y: torch.renorm(y, 2.0, 0, 1.0),
}


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("function", ELEMENTWISE)
def test_work_without_products_is_not_free(function: str, name: str) -> None:
    x = torch.randn(2, 2, 8, 8)
    latency, energy, *_ = figures(Between(ELEMENTWISE[function], 8, True), x, name)
    bare_latency, bare_energy, *_ = figures(Between(lambda net, y: y, 8, True), x, name)
    assert latency > bare_latency and energy > bare_energy


@pytest.mark.parametrize("name", ["bit_serial", "made up"])
def test_work_without_products_follows_the_devices_figure(name: str) -> None:
    device = device_of(name)
    x, path = torch.randn(2, 2, 8, 8), f"cores.{device.core_names[0]}.timing.macs_per_value"
    net = Between(ELEMENTWISE["softmax"], 8, True).eval()
    table = build_table(net, cut_sites(net, x[:1]), x, device, [])
    plan = GatePlan((), (device.core_names[0],))
    costs = (
        CostModel(each, table, cut_sites(net, x[:1]), 0, 1.0, {"positive": 1.0})
        for each in (device, scale_constants(device, {path: 2.0}))
    )
    nominal, twice = (cost.stages(plan)[0].cost.latency_us for cost in costs)
    values = 64 * 8 * (3 + 1)  # a softmax takes three passes over the values, and the final mean takes one pass
    assert twice - nominal == pytest.approx(device.cores[0].latency_us(values * DEFAULT_MACS_PER_VALUE.value))


def price_of(plan: GatePlan, rate: float) -> Price:
    return model().price(plan, {kind: [1.0, *[rate] * (len(plan.cores) - 1)] for kind in SHARES})


@given(core=st.sampled_from(["mcu", "app"]), site=st.sampled_from(["input", "stem"]))
def test_a_gate_that_stops_nothing_costs_more_than_no_gate(core: str, site: str) -> None:
    gated = price_of(GatePlan((PlacedGate.of("gc", site, mode="channel", keep=1.0),), (core, core)), 1.0)
    ungated = price_of(GatePlan((), (core,)), 1.0)
    assert gated.energy.total_uj >= ungated.energy.total_uj
    assert gated.expected_latency_us >= ungated.expected_latency_us
    assert gated.expected_macs > ungated.expected_macs


@given(rate=st.floats(0, 1))
def test_the_terms_of_a_price_add_up_to_it(rate: float) -> None:
    price = price_of(GatePlan((PlacedGate.of("gc", "stem", mode="channel", keep=0.5),), ("mcu", "app")), rate)
    assert sum(price.energy.by_core.values()) == pytest.approx(price.energy.total_uj)
    assert sum(price.energy.by_term.values()) == pytest.approx(price.energy.total_uj)
    stages = sum(sum(stage.values()) for stage in price.energy.by_stage)
    always = sum(price.energy.by_term[term] for term in ("sense", "frontend", "idle"))
    assert stages + always == pytest.approx(price.energy.total_uj)
