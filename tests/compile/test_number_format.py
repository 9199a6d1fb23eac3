"""Tests of stages that are exported in float32 because int8 suits them badly, and of their prices.

A delicate stage loses accuracy in int8. It runs in float32 on a core that can run float32, and in int8 on other cores.
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
def priced() -> CostModel:
    torch.manual_seed(0)
    model = KWT(3, (1, 12, 6), width=8, blocks=1, heads=2, class_token=False).eval()
    samples = torch.randn(4, 1, 12, 6)
    result = cut_sites(model, samples)[:1]  # one site alone, because each block takes seconds to convert
    with torch.no_grad():
        read = build_table(model, result, samples, DEVICE, [PlacedGate.of("gc", "any", mode="channel")])
    shares = {"positive": 0.1, "noise": 0.9}
    return CostModel(DEVICE, Table.from_json(read.to_json()), result, FrontendWork(1000), 1.0, shares)


def test_blocks_of_a_transformer_are_delicate_and_a_microcontroller_without_gelu_cannot_run_them(priced):
    assert priced.table.needs == {"input": DELICATE}
    for core, able in (("mcu", False), ("npu", True), ("app", True)):
        readings = [priced.table.blocks[name][core](1.0, 1.0) for name in priced.table.sites]
        assert all(math.isfinite(reading) == able for reading in readings)
        assert ("mcu.operators" in priced.violations(GatePlan((), (core,)))) == (not able)


def test_a_gate_on_the_input_runs_on_a_microcontroller(priced):
    first = GatePlan((PlacedGate.of("gc", "input", mode="channel"),), ("mcu", "app"))
    assert not priced.violations(first)
    on_input, rest = priced.stages(first)
    whole = priced.stages(GatePlan((), ("npu",)))[0]
    # A float weight takes four bytes. The gate runs in int8, so each value that it hands over takes one byte.
    assert rest.flash_bytes == 4 * whole.flash_bytes
    assert rest.cost.link_uj == pytest.approx(DEVICE.link("mcu", "app").transfer_uj(12 * 6))
    # The microcontroller needs SRAM for TensorFlow Lite Micro's arena and its structures, and flash for the whole file.
    assert on_input.sram_bytes > ARENA_BYTES + 12 * 6 and on_input.flash_bytes > FILE_BYTES


def test_stages_of_a_split_transformer_are_delicate_behind_its_tokens():
    model = KWT(3, (1, 12, 6), width=8, blocks=2, heads=2).eval()
    result = {site.name: site for site in cut_sites(model, torch.zeros(1, 1, 12, 6))}
    embed, block, rest = split(model, [result[name].node for name in ("tokens", "blocks.0")])
    assert [needs(stage) for stage in (embed, block, rest)] == [PLAIN, DELICATE, DELICATE]
