"""Tests of prices of stages with gated layers that run in int8 on a core with kernels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from gatesearch.compile.batch_convert import one_by_one
from gatesearch.cost import programs
from gatesearch.cost.kernel_costs import Curve, Recorded
from gatesearch.cost.model import CostModel
from gatesearch.cost.sources.host import profiler
from gatesearch.cost.sources.host.kernel_points import Run, timed_grids
from gatesearch.cost.sources.host.profiler import HostReadings
from gatesearch.cost.sources.host.steady_timing import NetCall
from gatesearch.cost.table_reader import build_table, kernel_runs
from gatesearch.devices import profile
from gatesearch.gates import KernelCall
from gatesearch.kernels import native
from gatesearch.plan import PlacedGate
from tests.cost.test_native_pricing import (
    DENSE_FLOAT,
    DENSE_INT8,
    EMPTY,
    LOOP,
    SHAPE,
    clocked,
    counted,
    fbs,
    micros,
    parts,
)

IN_BYTES = 0.25  # time of the layer between bytes, as a share of the dense int8 layer
NAMES = ("conv2.0", "conv3.0")


def clocked_in_bytes(models: Any, empty: bytes, runs: Any = (), **options: Any) -> HostReadings:
    """Stand in for the clock, also for layers between bytes."""
    readings = clocked(models, empty, runs, **options)
    curves = dict(readings.kernels.curves)
    for run in runs:
        if run.in_bytes:
            us = IN_BYTES * DENSE_INT8
            curves[run.key] = Curve(("outputs",), ((0.5,), (1.0,)), (us, 2 * us))
    return replace(readings, kernels=Recorded("measured", curves))


@pytest.fixture(scope="module")
def model() -> CostModel:
    net, sites, layers = parts()
    searched = tuple(site for site in layers if site.name in NAMES)
    cuts = tuple(site for site in sites if site.name in ("input", "conv5"))
    gates = [*(fbs(name, 0.5) for name in NAMES), *(pg(name, bits) for name in NAMES for bits in (8, 16))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(profiler, "measure", clocked_in_bytes)
        patch.setattr(programs, "quantise", lambda model, samples: model)
        table = build_table(
            net,
            cuts,
            torch.randn(2, *SHAPE),
            profile.load("host"),
            [PlacedGate.of("gc", "any", mode="channel")],
            searched,
            gates,
            loop=lambda around, stages: LOOP,
            converter=one_by_one(counted),
        )
    return CostModel(profile.load("host"), table, cuts, 0, 1.0, {"positive": 1.0}, searched)


def pg(site: str, bits: int) -> PlacedGate:
    return PlacedGate.of("pg", site, mask="m1", bits=bits, high_bits=4, weight_bits=7)


def test_a_gated_layer_between_relus_leaves_the_rest_in_int8_and_in_one_call(model: CostModel) -> None:
    around = LOOP.run + LOOP.byte * 64
    for gates in ([fbs("conv3.0", 0.5)], [fbs(name, 0.5) for name in NAMES]):
        expected = (9 - len(gates)) * DENSE_INT8 + len(gates) * IN_BYTES * DENSE_INT8 + EMPTY + around
        assert micros(model, *gates) == pytest.approx(expected)


def test_a_gate_without_a_form_in_int8_makes_the_stage_float(model: CostModel) -> None:
    assert micros(model, fbs("conv3.0", 0.5), pg("conv2.0", 16)) > 7 * DENSE_FLOAT


def test_a_stage_before_a_cut_gate_stays_in_float(model: CostModel) -> None:
    cut = PlacedGate.of("gc", "conv5", mode="channel", keep=1.0)
    in_float = 5 * DENSE_FLOAT
    assert micros(model, cut, fbs("conv3.0", 0.5)) > in_float


def test_layers_between_bytes_are_timed_for_convolutions_between_relus_alone() -> None:
    _, _, layers = parts()
    runs = kernel_runs(layers, [fbs("conv0.0", 0.5), *(fbs(name, 0.5) for name in NAMES), pg("conv3.0", 16)])
    in_bytes = [run for run in runs if run.in_bytes]
    assert {run.call.kernel for run in in_bytes} == {"fbs"} and len(in_bytes) == len(NAMES)
    assert all(run.key[0] == "fbs, in bytes" for run in in_bytes)


@pytest.mark.skipif(native.load() is None, reason="no C compiler")
def test_timing_leaves_out_the_call_from_python() -> None:
    call = KernelCall("fbs", (4, 4, 16, 32, 1, 1, 1, 1, 0, 0, 1, 1), (), (("inputs", 1.0), ("outputs", 0.5)))
    [grid] = timed_grids([Run(call, reads_blocks=False, in_bytes=True)]).values()
    timed = next(iter(grid.calls.values()))
    assert isinstance(timed, NetCall) and timed.call() > 0
