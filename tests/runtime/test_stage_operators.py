"""Each C operator gives LiteRT's integers, for random shapes, scales and values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import event, given, settings
from hypothesis import strategies as st

from gatesearch._lib.tool_output import ToolError
from gatesearch.kernels import native
from gatesearch.kernels.arrays import Array
from gatesearch.runtime.hop_kernel import HopKernel
from gatesearch.runtime.program import Program
from gatesearch.runtime.stage_operators import Unsupported
from gatesearch.runtime.stage_tables import UNARY
from tests.runtime.single_operator import Grid, build_program

LIBRARY = native.load()
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="no C compiler")
COUNT = settings(max_examples=60, deadline=None)

scales = st.floats(-9.0, 3.0).map(lambda power: float(np.float32(2.0**power)))
zeros = st.integers(-128, 127)
seeds = st.integers(0, 2**16)
images = st.tuples(st.just(1), st.integers(1, 6), st.integers(1, 5), st.sampled_from([1, 3, 8, 16, 33]))


def compare(program: bytes, inputs: list[Array]) -> None:
    """Compare a program by kernels with LiteRT."""
    litert = Program(program)
    assert LIBRARY is not None
    kernel = HopKernel(program, litert.inputs, litert.outputs, (0, [0]), LIBRARY)
    if inputs[1:]:
        kernel.set_state(np.concatenate([each.ravel() for each in inputs[1:]]))
    (result,) = kernel.run(inputs[0].ravel(), 0, 0, 1)
    assert result.ravel().tolist() == litert(*inputs)[0].ravel().tolist()


def integers(shape: tuple[int, ...], seed: int) -> Array:
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)


@COUNT
@given(
    name=st.sampled_from(["ADD", "SUB", "MUL"]),
    shape=images,
    repeats=st.lists(st.sampled_from([False, False, True]), min_size=4, max_size=4),
    grids=st.tuples(*[st.tuples(scales, zeros)] * 3),
    activation=st.sampled_from([0, 0, 1, 3]),
    swaps=st.booleans(),
    is_constant=st.booleans(),
    seed=seeds,
)
def test_sums_and_products_equal_those_of_litert(name, shape, repeats, grids, activation, swaps, is_constant, seed):
    options: Any = {"ADD": schema.AddOptionsT, "SUB": schema.SubOptionsT, "MUL": schema.MulOptionsT}[name]()
    options.fusedActivationFunction = activation
    small = tuple(1 if repeated else n for n, repeated in zip(shape, repeats, strict=True))
    shapes = (small, shape) if swaps else (shape, small)
    x, z = (Grid(own, *grid) for own, grid in zip(shapes, grids, strict=False))
    values = [integers(each.shape, seed + k) for k, each in enumerate((x, z))]
    constants = values[1:] if is_constant else []
    program = build_program(name, options, [x, z], Grid(shape, *grids[2]), constants)
    try:
        compare(program, values[: 2 - len(constants)])
    except Unsupported as error:
        event(str(error)[-40:])
        assert "too far" in str(error)


@COUNT
@given(
    name=st.sampled_from(["MEAN", "REDUCE_MAX"]),
    shape=images,
    axes=st.sampled_from([(1,), (2,), (1, 2), (3,), (-1, 1)]),
    keeps=st.booleans(),
    grids=st.tuples(*[st.tuples(scales, zeros)] * 2),
    is_same=st.booleans(),
    seed=seeds,
)
def test_reductions_over_axes_equal_those_of_litert(name, shape, axes, keeps, grids, is_same, seed):
    options = schema.ReducerOptionsT()
    options.keepDims = keeps
    reduced = {axis % 4 for axis in axes}
    remaining = tuple(n if k not in reduced else 1 for k, n in enumerate(shape) if keeps or k not in reduced)
    output = Grid(remaining, *grids[0 if is_same or name == "REDUCE_MAX" else 1])
    program = build_program(name, options, [Grid(shape, *grids[0])], output, [np.array(axes, np.int32)])
    compare(program, [integers(shape, seed)])


@COUNT
@given(
    name=st.sampled_from(["AVERAGE_POOL_2D", "MAX_POOL_2D"]),
    shape=images,
    kernel=st.tuples(st.integers(1, 6), st.integers(1, 5)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    scale=scales,
    zero=zeros,
    seed=seeds,
)
def test_poolings_over_windows_equal_those_of_litert(name, shape, kernel, strides, scale, zero, seed):
    options: Any = schema.Pool2DOptionsT()
    kernel = tuple(min(size, n) for size, n in zip(kernel, shape[1:3], strict=True))
    options.filterHeight, options.filterWidth = kernel
    options.strideH, options.strideW = strides
    options.padding = schema.Padding.VALID
    size = [(n - k) // s + 1 for n, k, s in zip(shape[1:3], kernel, strides, strict=True)]
    program = build_program(name, options, [Grid(shape, scale, zero)], Grid((1, *size, shape[3]), scale, zero))
    compare(program, [integers(shape, seed)])


# The scales and zero points of these outputs are fixed.
FIXED = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}
OPTIONS = {"LEAKY_RELU": schema.LeakyReluOptionsT, "HARD_SWISH": schema.HardSwishOptionsT, "ABS": schema.AbsOptionsT}


@COUNT
@given(name=st.sampled_from(UNARY), grids=st.tuples(*[st.tuples(scales, zeros)] * 2), shape=images, seed=seeds)
def test_functions_of_one_value_equal_those_of_litert(name, grids, shape, seed):
    options: Any = OPTIONS[name]() if name in OPTIONS else None
    if name == "LEAKY_RELU":
        options.alpha = 0.1
    output = Grid(shape, *FIXED.get(name, grids[1]))
    program = build_program(name, options, [Grid(shape, *grids[0])], output)
    try:
        Program(program)
    except ToolError:
        event("LiteRT refuses the scales")
        return
    compare(program, [integers(shape, seed)])
