"""Tests of the cost of gated layers, on cores that can skip work and on cores that cannot.

Feature boosting and suppression (FBS) computes a share of the channels. Precision gating (PG) splits a layer by bits:
it computes the high bits for all outputs, and the low bits for some outputs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatesearch.backbones.m_cifarnet import MCifarNet
from gatesearch.cost.frontend import FrontendWork
from gatesearch.cost.layers import LayerChange, layer_changes
from gatesearch.cost.model import CostModel
from gatesearch.cost.surface import Surface
from gatesearch.cost.table import Table
from gatesearch.cost.table_reader import build_table
from gatesearch.devices import profile
from gatesearch.devices.profile import Device, Kernels
from gatesearch.gates import Call, LayerWork, work_of
from gatesearch.graph.sites import LayerSite, cut_sites, find, layer_sites
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.search import Evaluated, Objectives, build_space, search
from gatesearch.search.pareto import front
from gatesearch.search.settings import SearchSettings

SERIAL = Kernels(bits="serial", skips=("channel", "channel-block-16", "element", "pixel", "pixel-group-16"), source="x")
WHOLE = Kernels(source="x")
SITE = LayerSite("a", "conv2d", (4, 6, 6), (8, 6, 6), 10_000, 288)


@pytest.mark.parametrize(
    ("kernels", "bits", "remaining", "cost"),
    [
        (WHOLE, (8, 8), (), 1.0),
        (WHOLE, (4, 8), (), 1.0),  # four bits take a whole byte
        (WHOLE, (1, 1), (), 1.0),
        (WHOLE, (9, 8), (), 2.0),
        (WHOLE, (16, 32), (), 8.0),
        (WHOLE, (4, 8), (("channel", 0.5), ("element", 0.1)), 1.0),  # nothing can be skipped
        (SERIAL, (8, 8), (), 1.0),
        (SERIAL, (4, 8), (), 0.5),
        (SERIAL, (2, 4), (), 0.125),
        (SERIAL, (8, 8), (("channel", 0.5), ("element", 0.1)), 0.05),
        (SERIAL, (8, 8), (("pixel-group-8", 0.5), ("channel", 0.5)), 0.5),  # this core skips groups of 16 only
        (SERIAL, (8, 8), (("no such skip", 0.0),), 1.0),
        (Kernels(skips=("channel",), source="x"), (4, 8), (("channel", 0.25),), 0.25),
    ],
)
def test_calls_cost_what_is_computed_by_hand(
    kernels: Kernels, bits: tuple[int, int], remaining: Any, cost: float
) -> None:
    assert kernels.cost(bits, remaining) == pytest.approx(cost)


SPLIT = LayerWork(calls=(Call((4, 8)), Call((4, 8), (("element", 0.25),))), macs=0.0, params=9, density=1.0)
HALF = LayerWork(calls=(Call((8, 8), (("channel", 0.5),)),), macs=320.0, params=40, density=0.5)
BOTH = LayerWork(
    calls=(Call((4, 8), (("channel", 0.5),)), Call((4, 8), (("channel", 0.5), ("element", 0.25)))),
    macs=320.0, params=49, density=0.5,
)  # fmt: skip


@pytest.mark.parametrize(
    ("work", "remaining_inputs", "serial", "whole", "macs", "params"),
    [
        (SPLIT, (), 0.5 + 0.5 * 0.25, 2.0, 10_000 * (0.5 + 0.125 - 1), 9),
        (HALF, (), 0.5 + 0.032, 1.032, 10_000 * (0.5 - 1) + 320, 40),
        (BOTH, (), 0.25 + 0.25 * 0.25 + 0.032, 2.032, 10_000 * (0.25 + 0.0625 - 1) + 320, 49),
        (None, (("channel", 0.75),), 0.75, 1.0, 10_000 * (0.75 - 1), 0),
        (HALF, (("channel-block-16", 0.5),), 0.25 + 0.032, 1.032, 10_000 * (0.25 - 1) + 320, 40),
        (SPLIT, (("channel", 0.5),), 0.25 + 0.25 * 0.25, 2.0, 10_000 * (0.5 * 0.625 - 1), 9),
        (None, (), 1.0, 1.0, 0.0, 0),
    ],
)
def test_changes_of_a_layer_equal_those_computed_by_hand(
    work: Any, remaining_inputs: Any, serial: float, whole: float, macs: float, params: int
) -> None:
    change = LayerChange(SITE, work, remaining_inputs)
    assert change.cost(SERIAL) == pytest.approx(serial)
    assert change.cost(WHOLE) == pytest.approx(whole)
    assert change.macs_change == pytest.approx(macs)
    assert change.params_change == params


def chain(*names: str) -> tuple[LayerSite, ...]:
    sources = (None, *names)
    return tuple(replace(SITE, name=name, source=source) for name, source in zip(names, sources, strict=False))


def test_suppressed_channels_are_missing_in_the_next_layer_and_in_no_other() -> None:
    layers = chain("a", "b", "c")
    changes = layer_changes([PlacedGate.of("fbs", "a", density=0.5)], layers, {})
    assert list(changes) == ["a", "b"]
    assert changes["a"].remaining_inputs == () and changes["a"].work is not None
    assert changes["b"] == LayerChange(layers[1], None, (("channel", 0.5),))
    apart = (*layers[:1], replace(layers[1], source=None), layers[2])
    assert list(layer_changes([PlacedGate.of("fbs", "a", density=0.5)], apart, {})) == ["a"]


def test_observed_shares_replace_target_shares() -> None:
    layers, gates = chain("a", "b"), [PlacedGate.of("fbs", "a", density=0.5), PlacedGate.of("pg", "b", mask="m1")]
    least = layer_changes(gates, layers, {})
    changes = layer_changes(gates, layers, {"a": {"density": 0.625}, "b": {"weighted_sparsity": 0.3}})
    assert least["b"].remaining_inputs == (("channel", 0.5),) and changes["b"].remaining_inputs == (("channel", 0.625),)
    assert least["b"].work is not None and changes["b"].work is not None
    assert least["b"].work.calls[1].remaining == (("pixel", 0.0),)
    assert changes["b"].work.calls[1].remaining == (("pixel", pytest.approx(0.7)),)


@pytest.mark.parametrize(("block", "named"), [(1, "channel"), (16, "channel-block-16")])
def test_the_next_layer_reads_in_the_pattern_in_which_channels_were_suppressed(block: int, named: str) -> None:
    layers = tuple(replace(site, shape=(32, 6, 6)) for site in chain("a", "b"))
    for kind in ("fbs", "fbs_pg"):
        changes = layer_changes([PlacedGate.of(kind, "a", density=0.5, block=block)], layers, {})
        assert changes["b"].remaining_inputs == ((named, 0.5),)
    only = Kernels(skips=("channel-block-16",), source="x")
    assert changes["b"].cost(only) == (0.5 if block == 16 else 1.0)


def test_a_gate_that_removes_no_channel_leaves_the_next_layer_as_it_is() -> None:
    for gate in (PlacedGate.of("pg", "a"), PlacedGate.of("fbs", "a", density=1.0)):
        assert list(layer_changes([gate], chain("a", "b"), {})) == ["a"]


SHAPE = (1, 8, 8)
NAMES = ("conv1.0", "conv2.0", "conv3.0")


@cache
def net() -> MCifarNet:
    torch.manual_seed(0)
    return MCifarNet(3, SHAPE, width=0.125).eval()


def device(kernels: Mapping[str, Any] | None = None, formats: Sequence[str] = ("tflite", "onnx")) -> Device:
    """Return the shipped bit-serial device, or one whose core has other kernels and formats."""
    written = profile.load("bit_serial").model_dump()
    if kernels is not None:
        [core] = written["cores"]
        written["cores"] = [core | {"kernels": kernels, "formats": list(formats)}]
    return Device.model_validate(written)


BYTES = device({"source": "no gate kernels"})
BIT_SERIAL = device()


@cache
def cost_model(device: Device) -> CostModel:
    x = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    cuts, layers = cut_sites(net(), x), layer_sites(net(), x)
    gates = [PlacedGate.of("gc", "any", mode="channel")]
    table = build_table(net(), cuts, x, device, gates, layers)
    return CostModel(device, table, cuts, FrontendWork(64), 0.001, {"positive": 1.0}, layers)


def price(model: CostModel, *gates: PlacedGate, observed: Mapping[str, Mapping[str, float]] | None = None) -> Any:
    cuts = sum(gate.kind == "gc" for gate in gates)
    plan = GatePlan(gates, ("serial",) * (cuts + 1))
    return model.price(plan, {"positive": [1.0] * (cuts + 1)}, observed=observed)


def micros(model: CostModel, macs: float) -> float:
    return model.device.cores[0].timing.latency_us(macs)


def test_the_table_reads_each_layer_by_itself_and_knows_its_block() -> None:
    model = cost_model(BYTES)
    table = model.table
    assert list(table.layers) == [site.name for site in model.layers]
    assert {name: row.readings for name, row in table.layers.items()} == {
        site.name: {"serial": float(site.macs)} for site in model.layers
    }
    # A block begins behind the last layer of the block before it.
    assert [row.block for row in table.layers.values()] == ["input", *(f"conv{i}" for i in range(7)), "flatten"]
    assert Table.from_json(table.to_json()) == table


SPLIT_AT_3 = PlacedGate.of("pg", "conv3.0", bits=8, high_bits=4, mask="3d")


@given(st.floats(0.01, 1.0))
def test_a_split_costs_a_second_layer_on_a_byte_core_and_less_than_one_on_a_bit_serial_core(sparsity: float) -> None:
    observed = {"conv3.0": {"weighted_sparsity": sparsity}}
    macs = find(cost_model(BYTES).layers, "conv3.0").macs
    for device, more in ((BYTES, macs), (BIT_SERIAL, -macs * sparsity / 2)):
        model = cost_model(device)
        dense, split = price(model), price(model, SPLIT_AT_3, observed=observed)
        assert split.expected_latency_us - dense.expected_latency_us == pytest.approx(micros(model, more), abs=1e-9)
        assert (split.energy.total_uj > dense.energy.total_uj) == (more > 0)
        # As in papers, a MAC with half the bits counts as half a MAC, so the number falls on every device.
        assert split.expected_macs == pytest.approx(dense.expected_macs - macs * sparsity / 2)


def test_suppressed_channels_save_what_is_computed_by_hand() -> None:
    gate = PlacedGate.of("fbs", "conv3.0", density=0.5)
    for device, share in ((BYTES, 1.0), (BIT_SERIAL, 0.5)):
        model = cost_model(device)
        own, behind = find(model.layers, "conv3.0"), find(model.layers, "conv4.0")
        work = work_of(own, gate)
        assert work.macs == own.shape_in[0] * own.channels + own.elements / 2
        more = (own.macs + behind.macs) * (share - 1) + work.macs
        difference = price(model, gate).expected_latency_us - price(model).expected_latency_us
        assert difference == pytest.approx(micros(model, more))
    assert price(cost_model(BYTES), gate).energy.total_uj > price(cost_model(BYTES)).energy.total_uj
    assert price(cost_model(BIT_SERIAL), gate).energy.total_uj < price(cost_model(BIT_SERIAL)).energy.total_uj


def test_weights_of_the_gates_own_parts_are_paid_for() -> None:
    model = cost_model(BYTES)
    plain, gated = (model.stages(GatePlan(gates, ("serial",)))[0] for gates in ((), (SPLIT_AT_3,)))
    assert gated.flash_bytes - plain.flash_bytes == 16 + 1  # a threshold for each channel, and the clip


def test_a_cut_before_a_gated_layer_scales_the_saving_of_the_gate() -> None:
    model, saved = cost_model(BIT_SERIAL), []
    for keep in (1.0, 0.5):
        cut = PlacedGate.of("gc", "conv2", keep=keep, mode="channel", recall=0.99)
        dense, gated = price(model, cut), price(model, cut, SPLIT_AT_3)
        saved.append(dense.expected_latency_us - gated.expected_latency_us)
    assert saved[0] > 0 and saved[1] == pytest.approx(saved[0] / 2)


def test_a_core_of_int8_programs_alone_runs_no_gated_layer() -> None:
    base = cost_model(BYTES)
    model = replace(base, device=device({"source": "x"}, formats=["tflite"]))
    assert model.violations(GatePlan((), ("serial",))) == {}
    for kind in ("pg", "fbs", "fbs_pg"):
        plan = GatePlan((PlacedGate.of(kind, "conv3.0"),), ("serial",))
        assert model.violations(plan) == {"serial.gated layers": 1.0}
        assert base.violations(plan) == {}


def three_core_model(base: CostModel) -> CostModel:
    """Return a model of the same network on the shipped device with three cores, with made-up times.

    The times are far too long for the stream of the other tests, so this model has a longer period.
    """
    table, names = base.table, ("mcu", "npu", "app")
    rows = {name: {**row, **dict.fromkeys(names, row["macs"])} for name, row in table.blocks.items()}
    heads = {name: {**row, **dict.fromkeys(names, row["serial"])} for name, row in table.heads.items()}
    layers = {
        name: replace(row, readings=dict.fromkeys(names, row.readings["serial"])) for name, row in table.layers.items()
    }
    table = replace(table, blocks=rows, heads=heads, layers=layers, overhead=dict.fromkeys(names, 0.0))
    return replace(base, device=profile.load("three_core"), table=table, period_s=1000.0)


@pytest.mark.parametrize(("cut", "where"), [("input", "app"), ("conv2", "app"), ("conv3", "mcu"), ("conv4", "mcu")])
def test_the_core_that_counts_is_that_of_the_gated_layers_stage(cut: str, where: str) -> None:
    model = three_core_model(cost_model(BYTES))
    gates = (PlacedGate.of("gc", cut, keep=1.0, mode="channel", recall=0.99), SPLIT_AT_3)
    violations = model.violations(GatePlan(gates, ("mcu", "app")))
    assert violations == ({"mcu.gated layers": 1.0} if where == "mcu" else {})


def test_an_infinite_reading_stays_infinite_with_gates() -> None:
    base = cost_model(BIT_SERIAL)
    order, table = base.table.sites, base.table
    block = table.layers["conv3.0"].block
    never = Surface((math.inf, 0.0, 0.0, 0.0))
    broken = replace(
        table,
        blocks={**table.blocks, block: {**table.blocks[block], "serial": never}},
        layers={**table.layers, "conv3.0": replace(table.layers["conv3.0"], readings={"serial": math.inf})},
    )
    model = replace(base, table=broken)
    assert block in order
    for gates in ((), (SPLIT_AT_3,), (PlacedGate.of("fbs", "conv2.0", density=0.5),)):
        plan = GatePlan(gates, ("serial",))
        assert model.stages(plan)[0].cost.latency_us == math.inf
        assert model.violations(plan) == {"serial.operators": 1.0}


# In papers, a multiply-accumulate with half the bits counts as half of one. A search has to count the work of its core
# instead, and a split by bits saves work only on a bit-serial core.

CHOICES = (
    None,
    {"kind": "pg", "bits": 8, "high_bits": 4, "mask": "3d"},
    {"kind": "pg", "bits": 8, "high_bits": 4, "mask": "m2-16"},
    {"kind": "fbs", "density": 0.5},
    {"kind": "fbs_pg", "density": 0.5, "bits": 8, "high_bits": 4, "mask": "3d"},
)


def every_plan() -> list[GatePlan]:
    plans = []
    for row in product(CHOICES, repeat=len(NAMES)):
        gated = [(name, dict(choice)) for name, choice in zip(NAMES, row, strict=True) if choice is not None]
        plans.append(GatePlan(tuple(PlacedGate.of(c.pop("kind"), name, **c) for name, c in gated), ("serial",)))
    return plans


PLANS = every_plan()


def splits(plan: GatePlan) -> list[PlacedGate]:
    """Return the gates of a plan that split a layer by bits."""
    layers = cost_model(BYTES).layers
    return [g for g in plan.gates if len(work_of(find(layers, g.site), g).calls) > 1]


def without_splits(plan: GatePlan) -> GatePlan:
    gates = [gate for gate in plan.gates if gate not in splits(plan)]
    return GatePlan(tuple(gates), plan.cores)


shares = st.floats(0.05, 1.0)


@st.composite
def observations(draw: st.DrawFn) -> dict[str, dict[str, float]]:
    """Draw reports of gates for each layer, with any sparsity and any density."""
    return {
        name: {"weighted_sparsity": (sparsity := draw(shares)), "sparsity_winners": sparsity, "density": draw(shares)}
        for name in NAMES
    }


def objectives(model: CostModel, plans: Sequence[GatePlan], observed: Mapping[str, Mapping[str, float]]) -> list[Any]:
    """Return (error, latency, energy) of plans that are all equally accurate."""
    prices = [model.price(plan, {"positive": [1.0]}, observed=observed) for plan in plans]
    return [(0.1, price.expected_latency_us, price.energy.total_uj) for price in prices]


@settings(max_examples=25)
@given(st.lists(st.sampled_from(PLANS), min_size=1, max_size=20), observations())
def test_on_a_core_of_whole_bytes_no_plan_with_a_split_is_on_the_front(plans: list[GatePlan], observed: Any) -> None:
    model = cost_model(BYTES)
    plans = [*plans, GatePlan((), ("serial",))]
    points = objectives(model, plans, observed)
    front_indices = front(points)
    assert front_indices and not any(splits(plans[i]) for i in front_indices)
    # Every single plan with splits also costs more than the same plan without them.
    for plan, point in zip(plans, points, strict=True):
        if splits(plan):
            [(_, latency, energy)] = objectives(model, [without_splits(plan)], observed)
            assert latency < point[1] and energy < point[2]


@settings(max_examples=10)
@given(observations())
def test_on_a_bit_serial_core_the_cheapest_plan_splits(observed: Any) -> None:
    points = objectives(cost_model(BIT_SERIAL), PLANS, observed)
    for objective in (1, 2):
        best = min(range(len(PLANS)), key=lambda i: points[i][objective])
        assert splits(PLANS[best])
    assert all(splits(PLANS[i]) for i in front(points))


@pytest.mark.parametrize(("chosen", "split"), [(BYTES, False), (BIT_SERIAL, True)], ids=["bytes", "bit by bit"])
def test_a_search_splits_layers_on_a_bit_serial_core_only(
    chosen: Device, split: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)
    model = cost_model(chosen)
    kinds = {"pg": {"bits": [8], "high_bits": [4, 2], "mask": ["3d", "m1"], "target": [0.0]}, "fbs": {"density": [0.9]}}
    space = build_space(
        model.sites, chosen.core_names, kinds, max_gates=0, layer_sites=model.layers, layer_names=NAMES, together=True
    )

    def evaluate(plan: GatePlan) -> Evaluated:
        observed = {gate.site: {"weighted_sparsity": 0.7, "density": 0.9} for gate in plan.gates}
        price = model.price(plan, {"positive": [1.0]}, observed=observed)
        return Evaluated(Objectives(0.9, price.expected_latency_us, price.energy.total_uj), {})

    settings = SearchSettings(journal=tmp_path / "study", trials=len(space), proposals=200, seed=0)
    result = search(space, model.violations, evaluate, settings)
    assert {trial.plan for trial in result.complete} >= {GatePlan((), ("serial",))} and len(space) == 1 + 4 + 1
    assert result.front and all(bool(splits(trial.plan)) is split for trial in result.front)
