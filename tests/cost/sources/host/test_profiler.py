"""Tests of the host profiler, which times each different operator of a program once."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from gatesearch.compile.tflite import channel_last, convert, quantise
from gatesearch.cost.kernel_costs import key_of
from gatesearch.cost.sources.host import profiler, split_operators
from gatesearch.cost.sources.host.kernel_points import Run
from gatesearch.gates import KernelCall
from gatesearch.kernels import native
from gatesearch.runtime.program import Program

SHAPE = (1, 16, 9, 8)


@pytest.fixture(scope="module")
def programs() -> dict[str, bytes]:
    """Programs of two equal convolutions and a pooling, in float and in int8."""
    torch.manual_seed(0)
    convolutions = [nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()]
    in_float = convert(nn.Sequential(*convolutions, nn.MaxPool2d(2)).eval(), torch.rand(SHAPE))
    samples = channel_last(torch.rand(4, *SHAPE[1:]).numpy())
    return {"float32": in_float, "int8": quantise(in_float, samples)}


@pytest.mark.parametrize("form", ["float32", "int8"])
def test_split_operators_in_sequence_compute_what_the_model_computes(programs: dict[str, bytes], form: str) -> None:
    whole, apart = Program(programs[form]), list(split_operators.split(programs[form]))
    assert [operator.name for operator in apart] == ["CONV_2D", "CONV_2D", "MAX_POOL_2D"]
    x = whole.inputs[0].quantise(channel_last(torch.rand(SHAPE).numpy()))
    values = x
    for operator in apart:
        [values] = Program(operator.model)(values)
    np.testing.assert_array_equal(values, whole(x)[0])


def test_equal_operators_are_timed_once_whatever_their_weights(programs: dict[str, bytes]) -> None:
    sums, unique = split_operators.split_all(programs)
    assert {name: len(keys) for name, keys in sums.items()} == {"float32": 3, "int8": 3}
    first, second, _ = sums["float32"]
    assert first == second and len(unique) == 4 + (sums["int8"][0] != sums["int8"][1])
    assert not set(sums["float32"]) & set(sums["int8"])


def test_a_model_of_many_operators_is_not_split(programs: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split_operators, "MAX_SPLIT_OPERATORS", 2)
    sums, unique = split_operators.split_all({"it": programs["float32"]})
    assert [unique[key].model for key in sums["it"]] == [programs["float32"]]


@pytest.mark.skipif(native.load() is None, reason="no C compiler")
def test_a_table_has_a_reading_for_each_program_and_each_point_of_each_kernel(programs: dict[str, bytes]) -> None:
    call = KernelCall("fbs", (6, 6, 32, 32, 3, 3, 1, 1, 1, 1, 1, 1))
    empty = convert(nn.Sequential(nn.ReLU()).eval(), torch.ones(1, 4, 1, 1))
    result = profiler.measure(programs, empty, [Run(call, False), Run(call, True)], seconds=0.1)
    assert set(result.programs) == {"float32", "int8"}
    assert all(us > result.empty_us > 0 for us in result.programs.values())
    [(key, curve)] = result.kernels.curves.items()
    assert key == key_of(call) and curve.names == ("inputs", "outputs") and len(curve.points) == 4
    assert result.timings == 1 + 4 + (len(split_operators.split_all(programs)[1]) - 4) + 3


def test_padding_stays_with_the_convolution_that_it_is_fused_into() -> None:
    padded = nn.Sequential(nn.ZeroPad2d((1, 2, 0, 3)), nn.Conv2d(8, 8, 3), nn.MaxPool2d(2)).eval()
    model = convert(padded, torch.rand(1, 8, 9, 9))
    apart = list(split_operators.split(model))
    assert [operator.name.replace("PADV2", "PAD") for operator in apart] == ["PAD+CONV_2D", "MAX_POOL_2D"]
    whole = Program(model)
    x = values = whole.inputs[0].quantise(channel_last(torch.rand(1, 8, 9, 9).numpy()))
    for operator in apart:
        [values] = Program(operator.model)(values)
    np.testing.assert_array_equal(values, whole(x)[0])


def operator(key: str, family: str, work: float, name: str = "ADD") -> split_operators.Operator:
    return split_operators.Operator(key=key, name=name, model=b"", family=(family,), work=work)


def test_excess_operators_are_interpolated_within_their_family() -> None:
    arguments = {o.key: o for o in [operator(f"a{i}", "a", i) for i in range(5)] + [operator("b", "b", 1)]}
    assert split_operators.interpolation_weights(arguments, 6) == {}
    assert split_operators.interpolation_weights(arguments, 5) == {"a1": [(0.5, "a0"), (0.5, "a2")]}
    least = split_operators.interpolation_weights(arguments, 0)
    assert least["a1"] == [(0.75, "a0"), (0.25, "a4")] and set(least) == {"a1", "a2", "a3"}


def test_large_matrix_products_are_interpolated_last() -> None:
    arguments = {o.key: o for o in [operator(f"a{i}", "a", i, "CONV_2D") for i in range(3)]}
    arguments |= {o.key: o for o in [operator(f"b{i}", "b", 10 + i) for i in range(3)]}
    assert set(split_operators.interpolation_weights(arguments, 5)) == {"b1"}


def test_a_small_budget_times_what_cannot_be_interpolated_and_gives_the_derived_share() -> None:
    torch.manual_seed(0)
    widths = (16, 16, 32, 64)
    layers = [nn.Conv2d(before, behind, 3, padding=1) for before, behind in pairwise(widths)]
    programs = {"it": convert(nn.Sequential(*layers).eval(), torch.rand(SHAPE))}
    empty = convert(nn.Sequential(nn.ReLU()).eval(), torch.ones(1, 4, 1, 1))
    ample = profiler.measure(programs, empty, seconds=0.1)
    scarce = profiler.measure(programs, empty, seconds=0.1, max_timings=1)
    assert ample.timings == 4 and ample.derived == 0.0
    assert scarce.timings == 3 and 0.0 < scarce.derived < 1.0
    assert scarce.programs["it"] > scarce.empty_us


def test_a_budget_of_seconds_pays_for_timings_in_proportion() -> None:
    assert profiler.timings_within(profiler.TIMING_SECONDS) == profiler.TABLE_TIMINGS
    assert profiler.timings_within(profiler.TIMING_SECONDS / 2) == profiler.TABLE_TIMINGS // 2
    assert profiler.timings_within(1e-9) == 1
