"""Tests that plans on a core with kernels are priced by timings of these kernels.

A fake clock and a fake converter make the latency table, so that each layer takes the same time.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any

import pytest
import torch
from torch import nn

from gatesearch.backbones.m_cifarnet import MCifarNet
from gatesearch.backbones.recurrent import kws_gru
from gatesearch.compile.batch_convert import one_by_one
from gatesearch.cost import programs
from gatesearch.cost.frontend import FrontendWork
from gatesearch.cost.kernel_costs import Curve, Recorded, key_of
from gatesearch.cost.layers import layer_changes
from gatesearch.cost.model import CostModel
from gatesearch.cost.sources.host import profiler
from gatesearch.cost.sources.host.profiler import HostReadings
from gatesearch.cost.table import Loop, Table
from gatesearch.cost.table_reader import build_table
from gatesearch.devices import profile
from gatesearch.gates import KernelCall, work_of
from gatesearch.graph.sites import cut_sites, find, layer_sites
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.search.pareto import front

SHAPE = (1, 8, 8)
NAMES = ("conv2.0", "conv3.0", "conv4.0")
DENSE_INT8, DENSE_FLOAT, EMPTY = 20.0, 60.0, 1.0  # microseconds of every layer, and of a program without operators
# Times divided by the time of the dense int8 layer. SPLIT is for precision gating (PG) with 8 bits, 4 of them high, and
# no open outputs. BLOCKS is for feature boosting and suppression (FBS) in float at its lowest density.
SPLIT, BLOCKS = 1.3, 0.25
HYBRID = 1.05  # the same ratio for FBS and PG in one layer, at the lowest density
LOOP = Loop(run=5.0, stage=3.0, byte=0.01, crossings={"int8 float32": 0.02, "float32 int8": 0.03}, crossing=2.0)
PG: dict[str, Any] = {"bits": 8, "high_bits": 4, "weight_bits": 7}


@cache
def parts() -> tuple[Any, Any, Any]:
    torch.manual_seed(0)
    net, x = MCifarNet(3, SHAPE, width=0.5).eval(), torch.randn(2, *SHAPE)
    return net, cut_sites(net, x), layer_sites(net, x)


def counted(module: nn.Module, example: torch.Tensor) -> bytes:
    """Stand in for a conversion, which takes seconds: the "program" is the number of layers that multiply."""
    return str(sum(isinstance(part, nn.Conv2d | nn.Linear) for part in module.modules())).encode()


def clocked(models: Any, empty: bytes, runs: Any = (), **_: Any) -> HostReadings:
    """Stand in for the clock: each layer that multiplies takes the same time."""
    each = {"int8": DENSE_INT8, "float32": DENSE_FLOAT}
    times = {(key, form): EMPTY + each[form] * int(model) for (key, form), model in models.items()}
    curves = {}
    for run in runs:
        if run.call.kernel == "pg":
            closed = SPLIT * DENSE_INT8
            curves[key_of(run.call)] = Curve(("open",), ((0.0,), (1.0,)), (closed, 2 * closed))
        elif run.call.kernel == "fbs_pg":
            low = HYBRID * DENSE_INT8
            curves[key_of(run.call)] = Curve(("outputs",), ((0.25,), (1.0,)), (low, 4 * low))
        else:
            cheap = BLOCKS * DENSE_INT8
            curves[key_of(run.call)] = Curve(("outputs",), ((0.25,), (1.0,)), (cheap, 4 * cheap))
    return HostReadings(times, Recorded("measured", curves), EMPTY, len(times), 0, 0.0)


@pytest.fixture(scope="module")
def model() -> CostModel:
    net, sites, layers = parts()
    gates = [
        gate
        for name in NAMES
        for gate in (
            *(PlacedGate.of("pg", name, mask="m1", **{**PG, "weight_bits": bits}) for bits in (7, 8)),
            PlacedGate.of("fbs_pg", name, mask="m1", **PG, density=0.5, block=16),
            PlacedGate.of("fbs", name, density=0.5, block=16),
        )
    ]
    searched = tuple(site for site in layers if site.name in NAMES)
    cuts = tuple(site for site in sites if site.name in ("input", "conv1", "conv5"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(profiler, "measure", clocked)
        patch.setattr(programs, "quantise", lambda model, samples: model)
        arguments = (
            net,
            cuts,
            torch.randn(2, *SHAPE),
            profile.load("host"),
            [PlacedGate.of("gc", "any", mode="channel")],
        )
        table = build_table(
            *arguments, searched, gates, loop=lambda around, stages: LOOP, converter=one_by_one(counted)
        )
    return CostModel(profile.load("host"), table, cuts, FrontendWork(0), 1.0, {"positive": 1.0}, searched)


def micros(model: CostModel, *gates: PlacedGate, observed: Any = None) -> float:
    cuts = sum(gate.kind == "gc" for gate in gates)
    stages = model.stages(GatePlan(gates, ("host",) * (cuts + 1)), observed=observed)
    return sum(stage.cost.latency_us for stage in stages)


def fbs(site: str, density: float) -> PlacedGate:
    return PlacedGate.of("fbs", site, density=density, block=16)


def test_a_stage_with_a_gated_layer_costs_its_plain_rest_in_float_its_kernels_and_one_more_call(
    model: CostModel,
) -> None:
    plain = micros(model)
    around = LOOP.run + LOOP.byte * 64
    operators = (plain - EMPTY - around) / DENSE_INT8
    assert operators == pytest.approx(9)  # eight convolutions and a linear layer
    density = work_of(find(model.layers, "conv3.0"), fbs("conv3.0", 0.5)).density
    kernel = BLOCKS * DENSE_INT8 * density / 0.25
    expected = (operators - 1) * DENSE_FLOAT + kernel + 2 * EMPTY + LOOP.run + LOOP.byte * 64 * 4
    assert micros(model, fbs("conv3.0", 0.5)) == pytest.approx(expected)


def test_kernels_one_after_the_other_need_no_program_between(model: CostModel) -> None:
    one, two = micros(model, fbs("conv3.0", 0.5)), micros(model, fbs("conv3.0", 0.5), fbs("conv4.0", 0.5))
    apart = micros(model, fbs("conv2.0", 0.5), fbs("conv4.0", 0.5))
    assert two < one
    assert apart - two == pytest.approx(EMPTY)


def test_a_gate_without_a_kernel_is_priced_as_the_reference_that_runs(model: CostModel) -> None:
    by_kernel, by_reference = fbs("conv3.0", 0.3), PlacedGate.of("pg", "conv3.0", mask="m1", bits=8, weight_bits=16)
    reference = work_of(find(model.layers, "conv3.0"), by_reference)
    assert reference.kernels == ()
    all_in_float = LOOP.run + LOOP.byte * 64 * 4 + EMPTY + 9 * DENSE_FLOAT
    # The reference computes two phases with weights of two bytes, so it costs 4 layers in place of 1.
    assert micros(model, by_reference) == pytest.approx(all_in_float + 3 * DENSE_FLOAT)
    assert micros(model, by_kernel) < all_in_float - DENSE_FLOAT / 2


def test_observed_shares_change_the_price_of_a_split(model: CostModel) -> None:
    gate = PlacedGate.of("pg", "conv3.0", mask="m1", **PG)
    times = [micros(model, gate, observed={"conv3.0": {"weighted_sparsity": s}}) for s in (1.0, 0.5, 0.0)]
    assert times[1] - times[0] == pytest.approx(times[2] - times[1]) == pytest.approx(SPLIT * DENSE_INT8 / 2)


def test_crossing_into_a_stage_of_other_arithmetic_costs_by_the_value(model: CostModel) -> None:
    cut = PlacedGate.of("gc", "conv1", mode="channel", keep=1.0, recall=0.99)
    site = find(model.sites, "conv1")
    here, there = micros(model, cut), micros(model, cut, fbs("conv3.0", 1.0))
    [_, second] = model.stages(GatePlan((cut, fbs("conv3.0", 1.0)), ("host", "host")))
    [_, plain] = model.stages(GatePlan((cut,), ("host", "host")))
    assert second.cost.latency_us > plain.cost.latency_us + LOOP.crossing + 0.02 * site.elements
    assert there > here


# PG that splits 8 bits into 4 high and 4 low bits takes 1.3 times as long as the dense int8 layer (results/kernels).

CHOICES = (
    None,
    ("pg", {"mask": "m1", **PG}),
    ("pg", {"mask": "m1", **PG, "weight_bits": 8}),
    ("fbs_pg", {"mask": "m1", **PG, "density": 0.25, "block": 16}),
    ("fbs", {"density": 0.25, "block": 16}),
)


def test_no_plan_on_the_front_has_a_split_with_slow_readings(model: CostModel) -> None:
    """All plans have the same accuracy, so cost alone decides which are on the front."""
    plans = []
    for row in product(CHOICES, repeat=len(NAMES)):
        gates = [PlacedGate.of(c[0], name, **c[1]) for name, c in zip(NAMES, row, strict=True) if c is not None]
        plans.append(GatePlan(tuple(gates), ("host",)))
    observed = {name: {"weighted_sparsity": 1.0, "density": 0.25} for name in NAMES}  # the most that a split can save
    prices = [model.price(plan, {"positive": [1.0]}, observed=observed) for plan in plans]
    points = [(0.1, price.expected_latency_us, price.energy.total_uj) for price in prices]
    front_plans = [plans[i] for i in front(points)]
    assert front_plans and all(gate.kind == "fbs" for plan in front_plans for gate in plan.gates)
    for plan, price in zip(plans, prices, strict=True):
        if plan.gates and all(gate.kind != "fbs" for gate in plan.gates):
            assert price.expected_latency_us > prices[plans.index(GatePlan((), ("host",)))].expected_latency_us


def test_a_split_with_fast_readings_is_on_the_front(model: CostModel) -> None:
    """This test shows that the test before it can fail: with other times in the table, the price of a split falls."""
    native = model.table.native["host"]
    fast = {key: Curve(c.names, c.points, tuple(0.01 for _ in c.readings)) for key, c in native.kernels.curves.items()}
    quick = replace(native, kernels=Recorded("measured", fast))
    changed = replace(model, table=replace(model.table, native={"host": quick}))
    gates = tuple(PlacedGate.of("pg", name, mask="m1", **PG) for name in NAMES)
    assert micros(changed, *gates) < micros(model, *gates)
    one = PlacedGate.of("pg", "conv3.0", mask="m1", **PG)
    assert micros(model, one) - micros(changed, one) == pytest.approx(SPLIT * DENSE_INT8 - 0.01)


def test_the_table_is_the_same_after_json(model: CostModel) -> None:
    assert Table.from_json(model.table.to_json()) == model.table


def test_a_curve_is_read_at_the_share_of_remaining_inputs(model: CostModel) -> None:
    call = KernelCall("fbs", find(model.layers, "conv4.0").geometry)
    curve = Curve(("inputs", "outputs"), ((0.5, 1.0), (1.0, 1.0)), (4.0, 8.0))
    native = model.table.native["host"]
    curves = {**native.kernels.curves, key_of(call): curve}
    changed = replace(
        model, table=replace(model.table, native={"host": replace(native, kernels=Recorded("measured", curves))})
    )
    saved = micros(changed, fbs("conv4.0", 1.0)) - micros(changed, fbs("conv3.0", 0.5), fbs("conv4.0", 1.0))
    alone = micros(changed, fbs("conv4.0", 1.0)) - micros(changed)
    assert saved > 0 and alone > 0


def recurrent(kernels: bool, depth: int) -> CostModel:
    net, x = kws_gru(3, hidden=8, depth=depth).eval(), torch.randn(2, 1, 12, 10)
    layers = tuple(site for site in layer_sites(net, x) if site.op == "gru")

    def fixed_readings(*arguments: Any, **more: Any) -> HostReadings:
        return (
            clocked(*arguments, **more)
            if kernels
            else replace(clocked(*arguments, **more), kernels=Recorded("measured"))
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(profiler, "measure", fixed_readings)
        patch.setattr(programs, "quantise", lambda model, samples: model)
        sites = cut_sites(net, x)[:1]  # all layers are one block
        arguments = (net, sites, x, profile.load("host"), [])
        table = build_table(*arguments, layers, loop=lambda around, stages: LOOP, converter=one_by_one(whole))
    return CostModel(profile.load("host"), table, sites, FrontendWork(0), 1.0, {"positive": 1.0}, layers)


def whole(module: nn.Module, example: torch.Tensor) -> bytes:
    """Stand in for a conversion: a recurrent layer is a hundred operators, a linear one is one."""
    return str(sum({nn.GRU: 100, nn.Linear: 1}.get(type(part), 0) for part in module.modules())).encode()


@pytest.mark.parametrize("depth", [1, 2])
def test_a_recurrent_layer_without_a_gate_costs_what_its_kernel_does(depth: int) -> None:
    by_kernel, by_litert = recurrent(kernels=True, depth=depth), recurrent(kernels=False, depth=depth)
    around = LOOP.run + LOOP.byte * 120 * 4
    assert micros(by_litert) == pytest.approx((100 * depth + 1) * DENSE_FLOAT + EMPTY + around)
    # Beside the kernel, one program remains: the linear layer behind the recurrent one.
    kernel = 4 * BLOCKS * DENSE_INT8 * depth
    assert micros(by_kernel) == pytest.approx(DENSE_FLOAT + kernel + EMPTY + around)
    gate = PlacedGate.of("lmf", by_kernel.layers[0].name, factor=3.0)
    assert micros(by_kernel, gate) >= micros(by_litert) / depth  # no time was recorded for the kernel of this gate


def test_a_recurrent_layer_without_a_kernel_reading_is_no_cheaper_than_dense() -> None:
    net, x = kws_gru(3, hidden=8).eval(), torch.randn(1, 1, 12, 10)
    [site] = [site for site in layer_sites(net, x) if site.op == "gru"]
    gate = PlacedGate.of("lmf", site.name, factor=3.0)
    change = layer_changes([gate], [site], {})[site.name]
    host = profile.load("host").core("host")
    assert change.cost(host.kernels) < 0.9
    assert change.reading(100.0, host, None) == 100.0
    alone = host.model_copy(update={"kernels": host.kernels.model_copy(update={"native": False})})
    assert change.reading(100.0, alone, None) == pytest.approx(100.0 * change.cost(alone.kernels))
