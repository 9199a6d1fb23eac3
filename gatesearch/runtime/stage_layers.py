"""Convolutions, depthwise convolutions and matrix products of a .tflite program as C operators."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import byref
from typing import Any

import numpy as np

from gatesearch.kernels.arrays import Array, address, pad_to_blocks
from gatesearch.kernels.conv import pack_u8
from gatesearch.kernels.geometry import Geometry
from gatesearch.runtime.stage_memory import Tensor
from gatesearch.runtime.stage_operators import CONV, DEPTHWISE, COperator, OperatorList, Unsupported

RELU, RELU6 = 1, 3  # ActivationFunctionType of the .tflite schema


def add_conv(stage: OperatorList, options: Any, inputs: Sequence[int], output: int) -> None:
    """Add a convolution."""
    weight = stage.constant(inputs[1], np.int8)
    source, geometry = _read_input(stage, options, inputs[0], weight.shape)
    _convolve(stage, CONV, geometry, options, source, inputs, output, weight.transpose(0, 3, 1, 2))


def add_depthwise(stage: OperatorList, options: Any, inputs: Sequence[int], output: int) -> None:
    """Add a depthwise convolution."""
    weight, channels = stage.constant(inputs[1], np.int8), stage.shape(inputs[0])[3]
    _, kh, kw, filters = weight.shape
    source, geometry = _read_input(stage, options, inputs[0], (filters, kh, kw, channels))
    if channels == 1:  # with one input channel, this is an ordinary convolution
        _convolve(stage, CONV, geometry, options, source, inputs, output, weight.transpose(3, 0, 1, 2))
    elif options.depthMultiplier == 1:
        _convolve(stage, DEPTHWISE, geometry, options, source, inputs, output, weight[0])
    else:
        _convolve(stage, CONV, geometry, options, source, inputs, output, spread_filters(weight[0], channels))


def spread_filters(weight: Array, channels: int) -> Array:
    """Return the weights of a convolution over all channels that equals a depthwise one with several filters a channel.

    Args:
        weight: weights of the depthwise convolution, int8 [kh, kw, filters]; the filters of a channel are neighbours.
        channels: number of input channels.

    Returns:
        Weights [filters, channels, kh, kw], which are 0 for all channels but a filter's own.
    """
    kh, kw, filters = weight.shape
    spread = np.zeros((filters, channels, kh, kw), np.int8)
    each = np.arange(filters)
    spread[each, each // (filters // channels)] = weight.transpose(2, 0, 1)
    return spread


def add_matrix(stage: OperatorList, options: Any, inputs: Sequence[int], output: int) -> None:
    """Add a matrix product: a convolution of one pixel."""
    weight = stage.constant(inputs[1], np.int8)
    source = stage.tensors[inputs[0]]
    if source.places.size != weight.shape[1]:
        raise Unsupported("a matrix product of several rows")
    geometry = Geometry((1, 1), weight.shape[1], weight.shape[0])
    _convolve(stage, CONV, geometry, options, source, inputs, output, weight[:, :, None, None])


def _read_input(stage: OperatorList, options: Any, tensor: int, weights: Sequence[int]) -> tuple[Tensor, Geometry]:
    """Return the input of a convolution with weights [c_out, kh, kw, c_in], and the geometry."""
    pads = (0, 0)
    is_same = options.padding == stage.schema.Padding.SAME
    if tensor in stage.padded and not is_same:
        tensor, pads = stage.padded[tensor]  # the kernels pad by themselves
    source = stage.tensors[tensor]
    _, h, w, c_in = source.places.shape
    c_out, kh, kw, _ = (int(n) for n in weights)
    strides, dilations = (options.strideH, options.strideW), (options.dilationHFactor, options.dilationWFactor)
    if is_same:
        pads = _same_padding((h, w), (kh, kw), strides, dilations)
    return source, Geometry((h, w), c_in, c_out, (kh, kw), strides, pads, dilations)


def _same_padding(
    image: tuple[int, int], kernel: tuple[int, int], strides: tuple[int, int], dilations: tuple[int, int]
) -> tuple[int, int]:
    pads = []
    for n, k, s, d in zip(image, kernel, strides, dilations, strict=True):
        # The output has ceil(n / s) values. Padding supplies the values that its windows read beyond n.
        total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
        if total % 2:
            raise Unsupported("a convolution that pads more on one side")
        pads.append(total // 2)
    return pads[0], pads[1]


def _convolve(
    stage: OperatorList,
    kind: int,
    geometry: Geometry,
    options: Any,
    source: Tensor,
    inputs: Sequence[int],
    output: int,
    weight: Array,
) -> None:
    """Add a convolution; weight is int8 [c_out, c_in, kh, kw], or [kh, kw, c] if it is depthwise.

    The output y is round(scale (conv(x - zero) + bias)) + zero_out, clipped to 0 .. 255. Here, scale is the scale of x
    times the scale of the weights, divided by the scale of y. zero and zero_out are the bytes that represent 0 in x and
    in y. The clipping acts as a ReLU if the byte 0 represents 0. It acts as a ReLU6 if, in addition, the byte 255
    represents at most 6.
    """
    x = stage.contiguous(source.places)
    target = stage.new(output)
    _check_activation(options.fusedActivationFunction, target)
    scales, _ = stage.grid(inputs[1])
    scales = np.broadcast_to(source.scale * scales / target.scale, (geometry.c_out,)).astype(np.float32)
    bias = stage.constant(inputs[2], np.int32).copy() if len(inputs) > 2 and inputs[2] >= 0 else None
    starts = pad_to_blocks(bias, "bias", np.int32, geometry.c_out, 0)
    factors = pad_to_blocks(scales.copy(), "scale", np.float32, geometry.c_out, 1)
    shifts = pad_to_blocks(None, "shift", np.float32, geometry.c_out, 0)
    weight, sums, scratch = np.ascontiguousarray(weight), None, None
    if kind == CONV:
        weight, packed_sums = pack_u8(stage.library, geometry, weight)
        sums = stage.memory.copy(packed_sums)
        scratch = stage.memory.take(stage.library.function("conv_u8_scratch")(byref(geometry.c)), np.uint8)
    weight = stage.memory.copy(weight)
    starts, factors, shifts = (stage.memory.copy(array) for array in (starts, factors, shifts))
    operator = COperator(
        kind=kind,
        zero=source.zero,
        zero_out=target.zero,
        shape=geometry.c,
        x=stage.address + int(x.flat[0]),
        y=stage.address + int(target.places.flat[0]),
        weights=address(weight),
        sums=address(sums),
        bias=address(starts),
        scale=address(factors),
        shift=address(shifts),
        scratch=address(scratch),
    )
    stage.operators.append(operator)
    stage.owners += [weight, sums, scratch, starts, factors, shifts]


def _check_activation(function: int, target: Tensor) -> None:
    """Refuse an activation function that the clipping to a byte does not compute."""
    clipped = function == RELU and target.zero == 0
    clipped |= function == RELU6 and target.zero == 0 and round(6 / float(target.scale)) >= 255 - target.zero
    if function and not clipped:
        raise Unsupported(f"the activation function {function}, which is no clipping")
