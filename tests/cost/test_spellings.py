"""The same function costs the same, however it is written; a gate that stops nothing saves nothing."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from gatesearch.cost.model import CostModel
from gatesearch.cost.price import Price
from gatesearch.cost.sources.board import kernels_of
from gatesearch.cost.table_reader import build_table
from gatesearch.devices.profile import load
from gatesearch.graph.sites import cut_sites, layer_sites
from gatesearch.plan import GatePlan, PlacedGate
from tests.cost.test_model import SHARES, model


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
    device, sites, layers = load(name), cut_sites(net, x[:1]), layer_sites(net, x[:1])
    table = build_table(net, sites, x, device, [])
    cost = CostModel(device, table, sites, 1000, 1.0, {"positive": 1.0}, layers, kernels_of(device))
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
