"""Tests of the costs of one hop of a stream, for blocks, gate heads and whole plans.

A hop is the time from one decision to the next. A step is the module that computes one hop.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from gatesearch.backbones.ds_cnn import DSCNN
from gatesearch.cost.blocks import ComponentKey, build_components
from gatesearch.cost.factory import build_cost_model, read_hop_table, read_table
from gatesearch.cost.frontend import FrontendWork
from gatesearch.cost.hop_components import build_hop_components, site_frames
from gatesearch.cost.hop_table import HopTable
from gatesearch.cost.model import CostModel
from gatesearch.cost.programs import component_footprint
from gatesearch.graph.hops import Frames, HopNetwork, hop_networks, rewrite_for_hops, work_by_hop
from gatesearch.graph.sites import cut_sites, layer_sites
from gatesearch.metrics.streams.activity import STEADY, Activity
from gatesearch.model import split
from gatesearch.plan import GatePlan, PlacedGate
from tests.cost.test_model import device
from tests.graph.hops.backbones import networks

SHAPE, HOP = (1, 49, 10), 2
GATE = PlacedGate.of("gc", "any", keep=1.0, mode="channel")
SHARES = {"positive": 0.2, "noise": 0.8}


def rewritten(width: int = 8, blocks: int = 2) -> nn.Module:
    return rewrite_for_hops(DSCNN(3, SHAPE, width=width, blocks=blocks), SHAPE, time_axis=1).network.eval()


@lru_cache
def model() -> CostModel:
    """Return the cost model of a small network on a core that counts MACs (multiply-accumulates) without a clock."""
    network = rewritten()
    features = torch.zeros(4, *SHAPE)
    sites, layers = cut_sites(network, features[:1]), layer_sites(network, features[:1])
    cores = device().cores[:1]
    own = device().model_copy(update={"cores": cores, "links": ()})
    frames = Frames(axis=2, count=SHAPE[1], hop=HOP)
    how: dict[str, Any] = {"variants": [GATE]}
    hops = read_hop_table(network, own, sites, features, frames=frames, phases=1, **how)
    return build_cost_model(
        own,
        sites,
        layers,
        table=read_table(network, own, sites, layers, features, replaces_layers=True, **how),
        frontend=FrontendWork(1000),
        frontend_hop=FrontendWork(40),
        period_s=0.04,
        shares=SHARES,
        hops=hops,
    )


def plan(site: str, gates: int = 1) -> GatePlan:
    names = [each.name for each in model().sites]
    placed = [names[names.index(site) + k] for k in range(gates)]
    return GatePlan(
        tuple(PlacedGate.of("gc", name, keep=1.0, mode="channel") for name in placed), ("mcu",) * (gates + 1)
    )


@settings(max_examples=25, deadline=None)
@given(networks(), st.integers(1, 3))
def test_the_steps_of_all_blocks_multiply_as_often_as_a_hop_of_the_network(drawn, hops):
    network, shape, stride = drawn
    hop = stride * hops
    sites = cut_sites(network, torch.zeros(2, *shape))
    components = build_components(network, sites, torch.randn(2, *shape), (), ())
    steps = build_hop_components(components, site_frames(network, sites, shape, time_axis=1, hop=hop))
    blocks = [key for key, component in components.items() if component.role == "block" and key.dense]
    parts = hop_networks(split(network, [site.node for site in sites]), shape, time_axis=1, hop=hop)
    assert sum(component_footprint(steps.components[key]).macs for key in blocks) == sum(
        work_by_hop(part).hop_macs for part in parts
    )
    for key in blocks:
        step, window = component_footprint(steps.components[key]), component_footprint(components[key])
        assert step.macs <= window.macs
        assert step.weight_bytes == window.weight_bytes
        assert step.values >= 0
        assert steps.states.get(key.name, 0) >= 0


def test_the_step_of_a_block_gives_the_fresh_frames_of_its_window() -> None:
    network = rewritten()
    features = torch.randn(2, *SHAPE)
    sites = cut_sites(network, features)
    components = build_components(network, sites, features, [GATE], ())
    frames = site_frames(network, sites, SHAPE, time_axis=1, hop=HOP)
    steps = build_hop_components(components, frames)
    step = steps.components[ComponentKey("stem")]
    assert frames["stem"] == Frames(axis=2, count=20, hop=1)
    assert step.example.shape == (2, 8, 1, 5)
    output, *state = step.module(step.example[:1])
    assert output.shape[2] == 1
    assert sum(each.numel() for each in state) == steps.states["stem"] == 8 * 2 * 5
    head = steps.components[ComponentKey("gc-channel@stem")]
    logit, *_ = head.module(head.example[:1])  # a program does not return its unchanged input
    assert logit.shape == (1, 1)


def test_the_readings_of_a_hop_are_read_back_as_they_were_written() -> None:
    hops = model().hops
    assert hops is not None
    assert HopTable.from_json(hops.to_json()) == hops
    assert hops.shapes["stem"] == (8, 1, 5) and hops.shapes["input"] == (1, HOP, 10)
    assert hops.table.input_elements == HOP * 10


def test_a_hop_costs_a_small_part_of_its_window() -> None:
    cost = model()
    _, ungated = cost.ungated()
    windows = replace(cost, hops=None).ungated()[1]
    assert ungated.expected_macs < windows.expected_macs / 8
    assert ungated.energy.by_term["frontend"] == pytest.approx(windows.energy.by_term["frontend"] * 40 / 1000)
    assert ungated.energy.by_term["compute"] < windows.energy.by_term["compute"] / 5


def test_the_network_by_hops_is_priced_by_the_multiplications_of_its_step() -> None:
    network = rewritten()
    step = work_by_hop(HopNetwork(network, SHAPE, time_axis=1, hop=HOP))
    assert model().ungated()[1].expected_macs == step.hop_macs
    windows = model().price_stream(GatePlan((), ("mcu",)), [STEADY, Activity(1.0, 1.0)])
    assert windows.expected_macs == step.window_macs


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from(["input", "stem", "blocks.0"]),
    st.integers(1, 2),
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=2),
)
def test_no_activity_of_the_gates_costs_less_than_the_bound(site, gates, shares):
    cost, chosen = model(), plan(site, gates)
    activities, share = [STEADY, STEADY], 1.0
    for passed, opened in shares[:gates]:
        share *= passed
        activities.append(Activity(share, share * opened))
        assume(activities[-1] != STEADY)  # a steady part never catches up, so it may take less time than the bound
    price, bound = cost.price_stream(chosen, activities), cost.bound(chosen)
    assert price.energy.total_uj >= bound.energy.total_uj * (1 - 1e-9)
    assert price.longest_latency_us >= bound.longest_latency_us * (1 - 1e-9)
    for core, busy in bound.utilisation.items():
        assert price.utilisation[core] >= busy * (1 - 1e-9)


@given(st.floats(0.0, 1.0))
def test_the_search_predicts_the_price_of_hops_without_openings(share):
    cost, chosen = model(), plan("stem")
    (_, every), (_, first), (_, second) = cost.run_costs(chosen)
    price = cost.price_stream(chosen, [STEADY, STEADY, Activity(share, 0.0)])
    assert price.energy.total_uj == pytest.approx(every + first + share * second)


def test_a_stage_on_demand_takes_both_programs_and_a_ring_buffer_lies_before_it() -> None:
    cost, chosen = model(), plan("stem")
    assert cost.hops is not None and cost.by_hop is not None
    windows, hops, stages = cost.stages(chosen), cost.by_hop.stages(chosen), cost._memory(chosen)
    states = cost.hops.states
    assert stages[0].flash_bytes == hops[0].flash_bytes
    assert stages[1].flash_bytes == hops[1].flash_bytes + windows[1].flash_bytes
    assert stages[0].state_bytes == 2 * (states["input"] + states["gc-channel@stem"]) + 8 * 20 * 5
    after_stem = cost.table.sites[cost.table.sites.index("stem") :]
    assert stages[1].state_bytes == 2 * sum(states.get(name, 0) for name in after_stem) > 0
    phases = replace(cost, hops=replace(cost.hops, phases=2))
    assert phases._memory(chosen)[1].state_bytes == 2 * stages[1].state_bytes


def test_a_plan_with_gated_layers_is_priced_by_whole_windows() -> None:
    cost = model()
    chosen = GatePlan((PlacedGate.of("fbs", cost.layers[1].name, density=0.5),), ("mcu",))
    assert not cost.runs_by_hops(chosen) and cost.runs_by_hops(plan("stem"))
    price = cost.price_stream(chosen, [STEADY, STEADY])
    windows = replace(cost, hops=None).price_stream(chosen, [STEADY, STEADY])
    assert price.energy.by_term["compute"] == windows.energy.by_term["compute"]
    assert price.energy.by_term["frontend"] < windows.energy.by_term["frontend"]
