"""Tests of delicate stages, which are exported in float32 where the core can run it, and of their prices.

A delicate stage loses accuracy in int8. On a core that cannot run float32, it runs in int8 all the same.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import fx, nn

from gatesearch.backbones.ds_cnn import DSCNN
from gatesearch.backbones.kwt import KWT
from gatesearch.backbones.quantiser import ResidualQuantiser
from gatesearch.compile.number_format import DELICATE, FLOAT, PLAIN, arithmetic, needs
from gatesearch.cost.frontend import FrontendWork
from gatesearch.cost.model import CostModel
from gatesearch.cost.table import Table
from gatesearch.cost.table_reader import build_table
from gatesearch.devices import profile
from gatesearch.graph.program_tables import ARENA_BYTES, FILE_BYTES
from gatesearch.graph.sites import cut_sites
from gatesearch.model import split
from gatesearch.plan import GatePlan, PlacedGate

DEVICE = profile.load("three_core")


def test_normalisations_exponentials_and_curved_activations_are_delicate():
    class Attends(nn.Module):
        def forward(self, x):
            return (x @ x.transpose(1, 2)).softmax(2)

    assert needs(nn.LayerNorm(3)) == needs(nn.Sequential(nn.Linear(2, 2), nn.GELU())) == DELICATE
    assert needs(fx.symbolic_trace(Attends())) == DELICATE
    assert needs(nn.Sequential(ResidualQuantiser(4, levels=2, codes=8))) == DELICATE
    assert needs(fx.symbolic_trace(DSCNN(3))) == PLAIN
    assert needs(nn.Sequential(nn.GELU(), nn.GRU(2, 3))) == FLOAT


@pytest.mark.parametrize(("core", "expected"), [("mcu", "int8"), ("npu", "int8"), ("app", "float32")])
def test_a_delicate_stage_is_in_float_on_a_core_that_runs_float(core, expected):
    assert arithmetic(DELICATE, DEVICE.core(core)) == expected
    assert arithmetic(PLAIN, DEVICE.core(core)) == "int8"
    assert arithmetic(FLOAT, DEVICE.core(core)) == "float32"


@pytest.fixture(scope="module")
def cost_model() -> CostModel:
    torch.manual_seed(0)
    model = KWT(3, (1, 12, 6), width=8, blocks=1, heads=2, class_token=False).eval()
    samples = torch.randn(4, 1, 12, 6)
    sites = cut_sites(model, samples)[:1]  # one site alone, because each block takes seconds to convert
    with torch.no_grad():
        table = build_table(model, sites, samples, DEVICE, [PlacedGate.of("gc", "any", mode="channel")])
    shares = {"positive": 0.1, "noise": 0.9}
    return CostModel(DEVICE, Table.from_json(table.to_json()), sites, FrontendWork(1000), 1.0, shares)


def test_blocks_of_a_transformer_are_delicate_and_a_microcontroller_without_gelu_cannot_run_them(cost_model):
    assert cost_model.table.needs == {"input": DELICATE}
    for core, can_run in (("mcu", False), ("npu", True), ("app", True)):
        readings = [cost_model.table.blocks[name][core](1.0, 1.0) for name in cost_model.table.sites]
        assert all(math.isfinite(reading) == can_run for reading in readings)
        assert ("mcu.operators" in cost_model.violations(GatePlan((), (core,)))) == (not can_run)


def test_a_gate_on_the_input_runs_on_a_microcontroller(cost_model):
    plan = GatePlan((PlacedGate.of("gc", "input", mode="channel"),), ("mcu", "app"))
    assert not cost_model.violations(plan)
    on_input, rest = cost_model.stages(plan)
    ungated = cost_model.stages(GatePlan((), ("npu",)))[0]
    # A float weight takes four bytes. The gate runs in int8, so each value that it hands over takes one byte.
    assert rest.flash_bytes == 4 * ungated.flash_bytes
    assert rest.cost.link_uj == pytest.approx(DEVICE.link("mcu", "app").transfer_uj(12 * 6))
    # The microcontroller needs SRAM for TensorFlow Lite Micro's arena, and flash for the whole file.
    assert on_input.sram_bytes > ARENA_BYTES + 12 * 6 and on_input.flash_bytes > FILE_BYTES


def test_a_transformer_split_into_stages_is_delicate_in_its_blocks_but_not_in_its_embedding():
    model = KWT(3, (1, 12, 6), width=8, blocks=2, heads=2).eval()
    nodes = {site.name: site.node for site in cut_sites(model, torch.zeros(1, 1, 12, 6))}
    embed, block, rest = split(model, [nodes[name] for name in ("tokens", "blocks.0")])
    assert [needs(stage) for stage in (embed, block, rest)] == [PLAIN, DELICATE, DELICATE]
