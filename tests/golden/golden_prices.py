"""Prices of 56 random gated models on several devices; no price depends on a clock or on training.

``models.json`` holds the models: the held-out set of ``gatesearch bench latency`` at commit f26ba90. Each model has a
plan drawn with a seed, and the figures that its gates reported for one window.

The latency tables of :data:`COUNTED_DEVICES` contain counts, so each test run builds them anew. The tables of
:data:`RECORDED_DEVICES` contain times, which differ from machine to machine. So the folder ``tables/`` holds these
tables for some of the networks, as commit f26ba90 wrote them.
"""

from __future__ import annotations

import json
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch

from gatesearch.backbones import build as build_backbone
from gatesearch.cost.frontend import FrontendWork
from gatesearch.cost.model import CostModel
from gatesearch.cost.sources.board import kernels_of
from gatesearch.cost.table import Table
from gatesearch.cost.table_reader import build_table
from gatesearch.devices.profile import load as load_device
from gatesearch.graph.sites import cut_sites, layer_sites
from gatesearch.plan import GatePlan, PlacedGate

HERE = Path(__file__).parent
PRICES = HERE / "prices.json"
COUNTED_DEVICES = ("bit_serial", "cortex_a")
RECORDED_DEVICES = ("host",)
CUT_VARIANTS = tuple(PlacedGate.of("gc", "any", mode=mode) for mode in ("channel", "activation"))
FRONTEND_MACS, PERIOD_S = 100_000, 0.5
SHARES = {"positive": 0.1, "_unknown_": 0.2, "_silence_": 0.7}
PASS_RATES = {"positive": 0.97, "_unknown_": 0.5, "_silence_": 0.125}  # share of windows that each gate passes


@cache
def models() -> dict[str, Any]:
    """Return networks and models as they were recorded."""
    recorded: dict[str, Any] = json.loads((HERE / "models.json").read_text())
    return recorded


def devices_of(network: str) -> tuple[str, ...]:
    """Return the devices on which a network is priced: those without a clock and those with a recorded table."""
    return COUNTED_DEVICES + tuple(device for device in RECORDED_DEVICES if table_path(network, device).exists())


def table_path(network: str, device: str) -> Path:
    """Return the path of the recorded table of a network on a device."""
    return HERE / "tables" / f"{device}-{network.lower().replace(',', '').replace(' ', '-')}.json"


@cache
def cost_model(network: str, device_name: str) -> CostModel:
    """Build the cost model of an untrained network on a device."""
    about, device = models()["networks"][network], load_device(device_name)
    shape = tuple(about["shape"])
    torch.manual_seed(0)
    backbone = build_backbone(about["backbone"], num_classes=12, input_shape=shape, args=about["args"]).eval()
    samples = torch.randn(16, *shape, generator=torch.Generator().manual_seed(1))
    sites = tuple(site for site in cut_sites(backbone, samples[:1]) if site.name in about["sites"])
    layers = tuple(layer for layer in layer_sites(backbone, samples[:1]) if layer.name in about["layers"])
    if device_name in COUNTED_DEVICES:
        table = build_table(backbone, sites, samples, device, CUT_VARIANTS, layers)
    else:
        table = Table.from_json(table_path(network, device_name).read_text())
    return CostModel(device, table, sites, FrontendWork(FRONTEND_MACS), PERIOD_S, SHARES, layers, kernels_of(device))


def figures(model: dict[str, Any], device: str) -> dict[str, Any]:
    """Return the prices of a model on a device."""
    cost = cost_model(model["network"], device)
    plan = GatePlan.from_dict({"gates": model["gates"], "cores": model["cores"][device]})
    cuts = len(plan.cores) - 1
    passed = {kind: list(accumulate([1.0] + [rate] * cuts, lambda a, b: a * b)) for kind, rate in PASS_RATES.items()}
    price = cost.price(plan, passed, observed=model["observed"])
    bound = cost.bound(plan)
    stages = cost.stages(plan, observed=model["observed"])
    return {
        "digest": plan.digest,
        "expected_macs": price.expected_macs,
        "expected_latency_us": price.expected_latency_us,
        "longest_latency_us": price.longest_latency_us,
        "energy_uj": dict(price.energy.by_term),
        "bound_latency_us": bound.expected_latency_us,
        "bound_energy_uj": bound.energy.total_uj,
        "runs": [list(pair) for pair in cost.run_costs(plan)],
        "stages": [
            {
                "last_site": stage.last_site,
                "macs": stage.macs,
                "flash_bytes": stage.flash_bytes,
                "sram_bytes": stage.sram_bytes,
                "latency_us": stage.cost.latency_us,
                "provenance": stage.provenance,
            }
            for stage in stages
        ],
        "violations": cost.violations(plan),
    }


def name_of(model: dict[str, Any]) -> str:
    """Return a model's name: its network and its seed."""
    return f"{model['network']}, seed {model['seed']}"


def all_figures() -> dict[str, dict[str, Any]]:
    """Return the prices of every model on every device."""
    return {
        name_of(model): {device: figures(model, device) for device in devices_of(model["network"])}
        for model in models()["models"]
    }


def write() -> None:
    """Write the prices to prices.json, a line for each model and device."""
    lines = [
        f"  {json.dumps(name)}: {{\n"
        + ",\n".join(f"   {json.dumps(device)}: {json.dumps(one)}" for device, one in row.items())
        + "\n  }"
        for name, row in all_figures().items()
    ]
    command = json.dumps("python tests/golden/update_golden.py prices")
    PRICES.write_text(f'{{\n "command": {command},\n "prices": {{\n' + ",\n".join(lines) + "\n }\n}\n")
