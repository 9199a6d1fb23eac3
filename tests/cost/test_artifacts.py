"""Tests of prices for exported files, which run on another engine than the device's profile assumes.

An engine is the software that runs a core's programs; some skip the work that gates leave out, and others mask it.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from gatesearch.cost.artifacts import describe_artifacts, price_artifacts
from gatesearch.cost.frontend import FrontendWork
from gatesearch.cost.model import CostModel
from gatesearch.cost.sources.board import kernels_of
from gatesearch.cost.table_reader import build_table
from gatesearch.devices.engine import ENGINES
from gatesearch.devices.profile import Device, load
from gatesearch.graph.sites import cut_sites, layer_sites
from gatesearch.plan import GatePlan, PlacedGate

PASSED = {"positive": [1.0, 1.0], "noise": [1.0, 0.1]}
SHARES = {"positive": 0.1, "noise": 0.9}


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.LazyLinear(3),
    )


def cost_on(device: Device) -> CostModel:
    torch.manual_seed(0)
    net, x = network(), torch.randn(2, 1, 8, 8)
    net(x)
    net.eval()
    sites, layers = cut_sites(net, x[:1]), layer_sites(net, x[:1])
    variants = [PlacedGate.of("gc", "any", mode="channel")]
    table = build_table(net, sites, x, device, variants, layers)
    return CostModel(device, table, sites, FrontendWork(1000), 1.0, SHARES, layers, kernels_of(device))


def one_core(name: str, **changes: Any) -> Device:
    """Return a device with the sensing core of a shipped profile alone, and with changes of that core."""
    device = load(name)
    core = device.core(device.sense.core)
    raw = core.model_dump() | changes
    return Device.model_validate(device.model_dump() | {"cores": [raw], "links": []})


def cut_plan(cost: CostModel) -> GatePlan:
    [core] = cost.device.core_names
    return GatePlan((PlacedGate.of("gc", cost.sites[1].name, mode="channel", keep=0.5),), (core, core))


def fbs_plan(cost: CostModel) -> GatePlan:
    [core] = cost.device.core_names
    return GatePlan((PlacedGate.of("fbs", "2", density=0.5, block=16),), (core,))


@pytest.mark.parametrize("name", ["three_core", "m55_u55"])
def test_the_time_on_tflm_is_its_factor_times_that_of_the_kernels(name: str) -> None:
    kernels, tflm = (cost_on(one_core(name, engine=engine)) for engine in ("kernels", "tflm"))
    for plan in (GatePlan((), kernels.device.core_names), cut_plan(kernels)):
        for ours, theirs in zip(kernels.stages(plan), tflm.stages(plan), strict=True):
            assert theirs.cost.latency_us == pytest.approx(ENGINES["tflm"].slowdown * ours.cost.latency_us)
            assert theirs.cost.compute_uj == pytest.approx(ENGINES["tflm"].slowdown * ours.cost.compute_uj)
            assert (ours.provenance, theirs.provenance) == ("simulated", "modelled")


@pytest.mark.parametrize("name", ["cortex_a", "bit_serial"])
def test_a_gated_layer_saves_nothing_on_an_engine_that_masks(name: str) -> None:
    masks = cost_on(one_core(name, engine="litert"))
    plan, dense = fbs_plan(masks), GatePlan((), masks.device.core_names)
    assert masks.bound(plan).energy.total_uj >= masks.bound(dense).energy.total_uj


def test_a_gated_layer_saves_on_an_engine_that_skips() -> None:
    cost = cost_on(load("bit_serial"))
    dense = GatePlan((), cost.device.core_names)
    assert cost.bound(fbs_plan(cost)).energy.total_uj < cost.bound(dense).energy.total_uj


def test_the_files_are_priced_for_the_engine_that_runs_them() -> None:
    cost = cost_on(one_core("three_core"))
    assert cost.device.cores[0].engine == "kernels"
    files = price_artifacts(cost)
    assert files.device.cores[0].engine == "tflm"
    assert price_artifacts(files).device == files.device
    lines = list(describe_artifacts(cost, cut_plan(cost), PASSED))
    assert len(lines) == 2
    assert lines[0].startswith(
        "core mcu: its price assumes gatesearch's kernels; its files are for TensorFlow Lite Micro, "
        "which takes 2.17 times as long (modelled: "
    )
    assert "as its files run, " in lines[1] and lines[1].endswith("assumes gatesearch's kernels")


def test_a_core_with_a_hypothetical_engine_runs_no_file() -> None:
    cost = cost_on(load("bit_serial"))
    assert list(describe_artifacts(cost, fbs_plan(cost), {kind: [1.0] for kind in SHARES})) == [
        "core serial: its price assumes a hypothetical engine, and no file runs on it; the .tflite is for LiteRT; "
        "it computes gated layers in full and masks them"
    ]


def test_no_line_is_printed_if_the_price_is_that_of_the_files() -> None:
    cost = cost_on(one_core("three_core", engine="tflm"))
    assert list(describe_artifacts(cost, cut_plan(cost), PASSED)) == []


def test_a_profile_that_names_no_engine_gets_the_one_that_its_figures_describe() -> None:
    raw = load("three_core").model_dump()
    for core in raw["cores"]:
        del core["engine"]
    assert [core.engine for core in Device.model_validate(raw).cores] == ["kernels", "vela", "litert"]
