"""Tests that the figures of gated layers in a run's record equal figures that were computed by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import nn

from gatesearch.cost.frontend import FrontendWork
from gatesearch.cost.model import CostModel
from gatesearch.cost.table import LayerReading, Table
from gatesearch.devices import profile
from gatesearch.graph.sites import cut_sites, layer_sites
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.report.record import layers

NET = nn.Sequential(
    nn.Conv2d(1, 8, 3, padding=1, bias=False),
    nn.BatchNorm2d(8),
    nn.ReLU(),
    nn.Conv2d(8, 20, 3, padding=1, bias=False),
    nn.BatchNorm2d(20),
    nn.ReLU(),
    nn.Conv2d(20, 4, 3, padding=1, bias=False),
    nn.BatchNorm2d(4),
    nn.ReLU(),
)
EXAMPLE = torch.zeros(1, 1, 6, 6)
MACS = {"0": 9 * 8 * 36, "3": 9 * 8 * 20 * 36, "6": 9 * 20 * 4 * 36}
HYBRID = PlacedGate.of("fbs_pg", "3", bits=8, high_bits=2, mask="m1", density=0.5, block=1)
OBSERVED = {"3": {"sparsity": 0.85, "sparsity_winners": 0.7, "weighted_sparsity": 0.85, "density": 0.5}}


def cost(device: str) -> CostModel:
    """Return a cost model of ``NET`` without timings; ``layer_rows`` needs only the block of each layer."""
    sites, layers = cut_sites(NET, EXAMPLE), layer_sites(NET, EXAMPLE)
    assert [site.name for site in sites] == ["input", "2", "5"]
    readings = {name: LayerReading(block, {}) for name, block in (("0", "input"), ("3", "2"), ("6", "5"))}
    table = Table(tuple(site.name for site in sites), {}, {}, {}, 36, {}, readings)
    return CostModel(profile.load(device), table, sites, FrontendWork(0), 1.0, {"positive": 1.0}, layers)


def rows(device: str, plan: GatePlan, observed: dict[str, Any]) -> dict[str, dict[str, Any]]:
    table = layers.layer_rows(plan, cost(device), observed)
    assert json.loads(json.dumps(table)) == table
    return {row["site"]: row for row in table}


def test_a_gated_layer_and_the_next_one_match_hand_computed_figures() -> None:
    table = rows("bit_serial", GatePlan((HYBRID,), ("serial",)), OBSERVED)
    assert list(table) == ["3", "6"]
    gated, behind = table["3"], table["6"]
    own = 8 * 20 + 20 * 36 * 0.5
    high, low = MACS["3"] * 0.5 * 2 / 8, MACS["3"] * 0.5 * 0.3 * 6 / 8
    assert [call["macs"] for call in gated["calls"]] == pytest.approx([high, low])
    assert [call["bits"] for call in gated["calls"]] == [[2, 8], [6, 8]]
    assert [call["share"] for call in gated["calls"]] == pytest.approx([0.5, 0.15])
    assert (gated["read"], gated["density"], gated["gate_macs"]) == (1.0, 0.5, own)
    assert gated["macs_left"] == pytest.approx(high + low + own)
    assert gated["share"] == pytest.approx((high + low + own) / MACS["3"])
    assert (gated["kind"], gated["params"]) == ("fbs_pg", dict(HYBRID.params))
    assert (gated["report"], behind["report"]) == (OBSERVED["3"], {})
    assert (behind["kind"], behind["params"], behind["read"], behind["density"]) == (None, {}, 0.5, 1.0)
    assert behind["calls"] == [{"bits": [8, 8], "left": [], "share": 1.0, "macs": MACS["6"] / 2}]
    assert behind["share"] == 0.5


def test_work_that_a_core_cannot_skip_is_computed() -> None:
    serial = rows("bit_serial", GatePlan((HYBRID,), ("serial",)), OBSERVED)
    for row in serial.values():  # this core skips all work that the gate leaves out, and its time depends on bits
        assert row["kernels"]["share"] == pytest.approx(row["share"])
        assert row["kernels"]["not_skipped"] == []
    assert serial["3"]["kernels"]["skipped"] == ["channel", "pixel"]
    byte_wise = rows("three_core", GatePlan((HYBRID,), ("mcu",)), OBSERVED)
    assert byte_wise["3"]["kernels"]["not_skipped"] == ["channel", "pixel"]
    own = byte_wise["3"]["gate_macs"] / MACS["3"]
    assert byte_wise["3"]["kernels"]["share"] == pytest.approx(2 + own)  # both calls are computed in full
    assert byte_wise["6"]["kernels"] == {
        **{"bits": "whole", "skipped": [], "not_skipped": ["channel"], "share": 1.0},
        **{"provenance": "assumed", "source": "no gate kernels: a gated layer is computed in full, call by call"},
    }
    assert byte_wise["3"]["share"] == serial["3"]["share"]


def test_a_layer_lies_in_the_stage_of_its_block() -> None:
    cut = PlacedGate.of("gc", "5", mode="activation", keep=1.0, recall=0.9)
    table = rows("three_core", GatePlan((cut, HYBRID), ("mcu", "npu")), OBSERVED)
    assert {name: (row["stage"], row["core"], row["block"]) for name, row in table.items()} == {
        "3": (0, "mcu", "2"),
        "6": (1, "npu", "5"),
    }


def test_the_summary_lists_gated_layers_and_their_total_macs() -> None:
    table = layers.layer_rows(GatePlan((HYBRID,), ("serial",)), cost("bit_serial"), OBSERVED)
    assert layers.gated_layers(table) == [{"site": "3", "kind": "fbs_pg", "sparsity": 0.85, "density": 0.5}]
    totals = layers.total_macs(table)
    assert totals["dense"] == MACS["3"] + MACS["6"]
    assert totals["left"] == pytest.approx(table[0]["macs_left"] + table[1]["macs_left"])


def test_precision_gates_have_no_density_and_a_plan_without_layer_gates_has_no_rows() -> None:
    pg = PlacedGate.of("pg", "3", bits=8, high_bits=4, mask="3d")
    table = layers.layer_rows(GatePlan((pg,), ("serial",)), cost("bit_serial"), {"3": {"sparsity": 0.5}})
    assert layers.gated_layers(table) == [{"site": "3", "kind": "pg", "sparsity": 0.5}]
    assert [row["site"] for row in table] == ["3"]
    cut = PlacedGate.of("gc", "5", mode="activation", keep=1.0, recall=0.9)
    assert layers.layer_rows(GatePlan((cut,), ("mcu", "npu")), cost("three_core"), {}) == []
    assert layers.total_macs([]) == {"dense": 0, "left": 0}
