"""Sums and products of a .tflite program as C operators, with the roundings of LiteRT on x86."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gatesearch.runtime.stage_memory import Tensor
from gatesearch.runtime.stage_operators import PRODUCT, SUM, OperatorList, Unsupported

RELU, RELU6 = 1, 3  # ActivationFunctionType of the .tflite schema
FACTOR_BITS = 20  # XNNPACK rounds the larger factor of a sum to this many bits behind its leading one
SUM_RATIOS = (2.0**-10, 2.0**8)  # ratios of scales for which XNNPACK runs a sum
PRODUCT_RATIOS = (2.0**-16, 2.0**8)


def add_sum(stage: OperatorList, options: Any, inputs: Sequence[int], output: int) -> None:
    """Add a sum of two tensors."""
    _add_weighted_sum(stage, options, inputs, output, sign=1)


def add_difference(stage: OperatorList, options: Any, inputs: Sequence[int], output: int) -> None:
    """Add a difference of two tensors."""
    _add_weighted_sum(stage, options, inputs, output, sign=-1)


def _add_weighted_sum(stage: OperatorList, options: Any, inputs: Sequence[int], output: int, sign: int) -> None:
    """Add x + z or x - z, in XNNPACK's fixed point.

    The result is r_x (x - zero_x) +- r_z (z - zero_z), where r_x and r_z are the scales of x and z divided by the scale
    of y. XNNPACK rounds both ratios to multiples of 2^-bits, where bits is such that the larger ratio has 21 binary
    digits (xnn_init_qs8_add_minmax_scalar_params). So the sum is a multiple of 2^-bits. It is rounded half up.
    """
    x, z = (stage.operand(i) for i in inputs)
    scale, zero = stage.grid(output)
    ratios = [each.scale / scale[0] for each in (x, z)]
    _check_ratios(stage, output, ratios, SUM_RATIOS)
    bits = FACTOR_BITS - (math.frexp(float(max(ratios)))[1] - 1)
    factor, factor_z = (int(np.rint(np.ldexp(float(ratio), bits))) for ratio in ratios)
    factor_z *= sign
    start = (1 << (bits - 1)) - factor * x.zero - factor_z * z.zero
    low, high = find_bounds(options.fusedActivationFunction, scale[0], zero)
    fields = dict(zero_out=zero, low=low, high=high, factor=factor, factor_z=factor_z, start=start, bits=bits)
    _add_elementwise(stage, SUM, (x, z), output, **fields)


def add_product(stage: OperatorList, options: Any, inputs: Sequence[int], output: int) -> None:
    """Add a product of two tensors; XNNPACK multiplies the integer product by one float."""
    x, z = (stage.operand(i) for i in inputs)
    scale, zero = stage.grid(output)
    ratio = x.scale * z.scale / scale[0]
    _check_ratios(stage, output, [ratio], PRODUCT_RATIOS)
    low, high = find_bounds(options.fusedActivationFunction, scale[0], zero)
    fields = dict(zero=x.zero, zero_z=z.zero, zero_out=zero, low=low, high=high, ratio=float(ratio))
    _add_elementwise(stage, PRODUCT, (x, z), output, **fields)


def _check_ratios(stage: OperatorList, output: int, ratios: Sequence[Any], limits: tuple[float, float]) -> None:
    if not all(limits[0] <= ratio < limits[1] for ratio in ratios):
        name = stage.graph.tensors[output].name.decode()
        raise Unsupported(f"{name} has a scale too far from the scales of its inputs")


def _add_elementwise(
    stage: OperatorList, kind: int, operands: tuple[Tensor, Tensor], output: int, **fields: Any
) -> None:
    """Add an operator on two tensors; an axis of length 1 is repeated as often as the output needs.

    The operator computes the values in the order in which the larger operand lies in memory. So this operand needs no
    copy in another order, and often the smaller one needs none either.
    """
    shape = stage.shape(output)
    larger = max(operands, key=lambda operand: operand.places.size)
    order = np.argsort(np.broadcast_to(larger.places, shape).ravel())
    x, z = (stage.contiguous(np.broadcast_to(each.places, shape).ravel()[order]) for each in operands)
    places = np.empty(len(order), np.int32)
    places[order] = stage.combine(kind, x, z, **fields)
    scale, zero = stage.grid(output)
    stage.tensors[output] = Tensor(places.reshape(shape), scale[0], zero)


def find_bounds(function: int, scale: np.float32, zero: int) -> tuple[int, int]:
    """Return the smallest and the largest byte of an output with an activation function.

    Raises:
        Unsupported: the activation function is neither ReLU nor ReLU6.
    """
    if function not in (0, RELU, RELU6):
        raise Unsupported(f"the activation function {function}, which is no clipping")
    low = zero if function else 0
    high = min(255, zero + int(np.rint(np.float32(6) / scale))) if function == RELU6 else 255
    return low, high
