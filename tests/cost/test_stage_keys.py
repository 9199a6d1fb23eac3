"""Tests that a stage's cost from the cache equals its computed cost, whatever was priced before."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import combinations_with_replacement

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatesearch.cost.effort import StageEfforts
from gatesearch.cost.frontend import FrontendWork
from gatesearch.cost.model import CostModel
from gatesearch.cost.table_reader import build_table
from gatesearch.graph.sites import cut_sites, layer_sites
from gatesearch.plan import GatePlan, PlacedGate
from tests.cost import test_exits
from tests.cost.test_layers import BIT_SERIAL, SHAPE, net, three_core_model

CORES = ("mcu", "npu", "app")
CUTS = {
    name: [
        PlacedGate.of("gc", name, keep=keep, mode="channel", recall=recall)
        for keep in (0.5, 1.0)
        for recall in (0.98, 0.99)
    ]
    for name in ("conv2", "conv5")
}
LAYERS = {
    name: [
        PlacedGate.of("fbs", name, density=0.5),
        PlacedGate.of("pg", name, bits=8, high_bits=4, mask="3d"),
        PlacedGate.of("pg", name, bits=8, high_bits=2, mask="3d"),
    ]
    for name in ("conv1.0", "conv2.0", "conv3.0", "conv6.0")
}


@cache
def warm_model() -> CostModel:
    """Return a model whose blocks hold several layers, so that an incomplete key would confuse gates of a block."""
    x = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    layers = layer_sites(net(), x)
    cuts = tuple(site for site in cut_sites(net(), x) if site.name in ("input", *CUTS))
    table = build_table(net(), cuts, x, BIT_SERIAL, [PlacedGate.of("gc", "any", mode="channel")], layers)
    assert len({table.layers[name].block for name in LAYERS}) < len(LAYERS)
    return three_core_model(CostModel(BIT_SERIAL, table, cuts, FrontendWork(64), 0.001, {"positive": 1.0}, layers))


@st.composite
def plans(draw: st.DrawFn) -> GatePlan:
    cuts = [draw(st.sampled_from(gates)) for gates in CUTS.values() if draw(st.booleans())]
    layers = [draw(st.sampled_from(gates)) for gates in LAYERS.values() if draw(st.booleans())]
    cores = draw(st.sampled_from(list(combinations_with_replacement(CORES, 1 + len(cuts)))))
    return GatePlan((*cuts, *layers), cores)


@settings(deadline=None, max_examples=60)
@given(plans())
def test_a_plan_costs_the_same_whatever_was_priced_before(plan: GatePlan) -> None:
    model = warm_model()
    terms = model.run_costs(plan)
    assert terms == replace(model).run_costs(plan)  # a copy has empty caches
    assert model.stages(plan) == replace(model).stages(plan)
    whole = model.price(plan, {"positive": [1.0] * len(plan.cores)})
    assert sum(us for us, _ in terms) == pytest.approx(whole.expected_latency_us)
    assert sum(uj for _, uj in terms) == pytest.approx(whole.energy.total_uj)


def test_a_gate_with_an_exit_costs_the_same_whatever_was_priced_before() -> None:
    model = test_exits.cost_model()
    other = GatePlan((PlacedGate.of("dsl", "stem", share=0.5, width=0.5, keep=1.0),), test_exits.PLAN.cores)
    for plan in (test_exits.PLAN, other, test_exits.PLAN):
        assert model.run_costs(plan) == replace(model).run_costs(plan)


def test_a_stage_is_priced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = replace(warm_model())
    cut, layer = CUTS["conv2"][0], LAYERS["conv1.0"][0]
    for cores in combinations_with_replacement(CORES, 2):
        model.run_costs(GatePlan((cut, layer), cores))
    calls = []
    monkeypatch.setattr(StageEfforts, "effort", lambda *arguments: calls.append(arguments))
    model.run_costs(GatePlan((CUTS["conv2"][1], layer), ("mcu", "app")))  # differs only in recall
    assert not calls
