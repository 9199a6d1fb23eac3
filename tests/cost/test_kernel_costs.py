"""Tests of kernel costs by shape and share of work, and of layers that are priced by them.

Feature boosting and suppression (``fbs``) computes some channels of a layer. Precision gating (``pg``) computes some
outputs at full precision. ``fbs_pg`` does both in one layer.
"""

from __future__ import annotations

import json

import pytest

from gatesearch.cost.kernel_costs import Curve, KernelCosts, Recorded, key_of
from gatesearch.cost.layers import layer_changes
from gatesearch.devices import profile
from gatesearch.gates import KernelCall, work_of
from gatesearch.graph.sites import LayerSite
from gatesearch.plan import PlacedGate

GEOMETRY = (8, 8, 32, 64, 3, 3, 1, 1, 1, 1, 1, 1)
FIRST = LayerSite("a", "conv2d", (16, 8, 8), (32, 8, 8), 294_912, 4608, geometry=(8, 8, 16, 32, *GEOMETRY[4:]))
SECOND = LayerSite(
    "b", "conv2d", (32, 8, 8), (64, 8, 8), 1_179_648, 18_432, source="a", geometry=GEOMETRY, positive=True
)
GRID = Curve(("inputs", "outputs"), ((0.5, 0.5), (0.5, 1.0), (1.0, 0.5), (1.0, 1.0)), (2.0, 4.0, 4.0, 8.0))


def test_between_readings_the_cost_is_linear_in_each_share() -> None:
    assert GRID({"inputs": 0.75, "outputs": 0.75}) == pytest.approx(4.5)
    assert GRID({"outputs": 0.5}) == 4.0
    assert GRID({"inputs": 0.25, "outputs": 1.0}) == pytest.approx(2.0)  # extrapolated along a straight line
    assert GRID({"inputs": 0.0, "outputs": 0.0}) == 0.0


def test_readings_must_be_a_grid() -> None:
    with pytest.raises(ValueError, match="no grid"):
        Curve(("a", "b"), ((0.0, 0.0), (1.0, 1.0)), (1.0, 2.0))


def test_costs_are_the_same_after_json() -> None:
    costs = Recorded("measured", {("pg", GEOMETRY, (("bytes", 1), ("group", 16))): Curve(("open",), ((1.0,),), (3.0,))})
    again = Recorded.from_dict(json.loads(json.dumps(costs.to_dict())))
    assert again == costs and isinstance(again, KernelCosts)


def test_a_layer_costs_the_reading_of_its_kernel() -> None:
    gates = [PlacedGate.of("fbs", site, density=0.5, block=16) for site in ("a", "b")]
    changes = layer_changes(gates, (FIRST, SECOND), {})
    [call] = changes["b"].kernels
    assert call == KernelCall("fbs", GEOMETRY, (), (("outputs", 0.5), ("inputs", 0.5)))
    core = profile.load("host").core("host")
    costs = Recorded("measured", {key_of(call): GRID})
    assert changes["b"].reading(100.0, core, costs) == 2.0
    # A kernel without a reading is priced by the figures of the device's profile.
    assert changes["a"].reading(100.0, core, costs) == pytest.approx(100.0 * changes["a"].cost(core.kernels))
    assert changes["b"].reading(100.0, core, None) == pytest.approx(100.0 * changes["b"].cost(core.kernels))


@pytest.mark.parametrize(
    ("gate", "count"),
    [
        (PlacedGate.of("fbs", "b", density=0.5, block=1), 1),
        (PlacedGate.of("fbs_pg", "b", density=0.5, block=1, bits=8, high_bits=4), 1),
        (PlacedGate.of("pg", "b", bits=8, high_bits=4, mask="m2-16", weight_bits=7), 1),
        (PlacedGate.of("pg", "b", bits=8, high_bits=4, mask="m2-16"), 1),  # weights of 8 bits and a sign: two bytes
        (PlacedGate.of("pg", "b", bits=4, high_bits=4), 1),  # there are no low bits to compute for some outputs
        (PlacedGate.of("pg", "b", bits=16, high_bits=8), 0),  # weights of 16 bits have no kernel
        (PlacedGate.of("fbs_pg", "b", density=0.5, bits=8, high_bits=8), 0),  # doubled 8-bit inputs exceed a byte
    ],
)
def test_a_gate_says_whether_a_kernel_does_its_work(gate: PlacedGate, count: int) -> None:
    assert len(work_of(SECOND, gate).kernels) == count


def test_a_recurrent_layer_is_one_run_for_each_of_its_cells() -> None:
    site = LayerSite("rnn", "lstm", (49, 10), (49, 64), 0, 20_000, depth=2, directions=1)
    calls = work_of(site, PlacedGate.of("hmd", "rnn", factor=2, blocks=2)).kernels
    assert [call.shape for call in calls] == [(49, 10, 64), (49, 64, 64)]
    assert all(0 < dict(call.remaining)["rich"] < 1 and call.kernel == "lstm" for call in calls)
