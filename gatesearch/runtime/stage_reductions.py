"""Means and maxima of a .tflite program, over axes or windows, as C operators with the roundings of LiteRT on x86."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gatesearch.kernels.arrays import Array
from gatesearch.runtime.stage_memory import Tensor
from gatesearch.runtime.stage_operators import AVERAGE, MEAN, SIGNED, OperatorList, Unsupported


def add_maximum(stage: OperatorList, options: Any, inputs: Sequence[int], output: int) -> None:
    """Add a maximum over windows."""
    source = stage.tensors[inputs[0]]
    shape = stage.shape(output)
    places = stage.gather(view_windows(source.places, options, shape)).reshape(shape)
    stage.tensors[output] = source._replace(places=places)


def add_largest(stage: OperatorList, options: Any, inputs: Sequence[int], output: int) -> None:
    """Add the largest value over axes."""
    source = stage.tensors[inputs[0]]
    rows = reduced_rows(source.places, stage.constant(inputs[1], np.int32))
    if (source.scale, source.zero) != (stage.grid(output)[0][0], stage.grid(output)[1]):
        raise Unsupported("a maximum whose input and output have different scales")
    stage.tensors[output] = source._replace(places=stage.gather(rows).reshape(stage.shape(output)))


def add_mean(stage: OperatorList, options: Any, inputs: Sequence[int], output: int) -> None:
    """Add a mean over axes.

    XNNPACK computes round(s k + (zero_out - n zero k)), where s is the sum of n signed values, and k the ratio of the
    scales of input and output, divided by n. All roundings are those of float32.
    """
    source = stage.tensors[inputs[0]]
    rows = reduced_rows(source.places, stage.constant(inputs[1], np.int32))
    scale, zero = stage.grid(output)
    count = rows.shape[1]
    ratio = source.scale / scale[0] / np.float32(count)
    offset = np.float32(zero - SIGNED) - np.float32((source.zero - SIGNED) * count) * ratio
    fields = dict(start=SIGNED * count, zero_out=SIGNED, ratio=float(ratio), offset=float(offset))
    _add_reduction(stage, MEAN, rows, output, **fields)


def add_average(stage: OperatorList, options: Any, inputs: Sequence[int], output: int) -> None:
    """Add a mean over windows, which is rounded with halves away from the integer 0."""
    source = stage.tensors[inputs[0]]
    views = view_windows(source.places, options, stage.shape(output))
    if (source.scale, source.zero) != (stage.grid(output)[0][0], stage.grid(output)[1]):
        raise Unsupported("a mean over windows whose input and output have different scales")
    _add_reduction(stage, AVERAGE, views, output, start=SIGNED * views.shape[1], zero_out=SIGNED)


def _add_reduction(stage: OperatorList, kind: int, rows: Array, output: int, **fields: Any) -> None:
    places = stage.reduce(kind, rows, low=0, high=255, **fields)
    scale, zero = stage.grid(output)
    stage.tensors[output] = Tensor(places.reshape(stage.shape(output)), scale[0], zero)


def reduced_rows(places: Array, axes: Array) -> Array:
    """Return the places that belong to each value of a reduction over axes, [values, count]."""
    reduced = sorted({int(axis) % places.ndim for axis in axes.ravel()})
    remaining = [axis for axis in range(places.ndim) if axis not in reduced]
    count = math.prod(places.shape[axis] for axis in reduced)
    return places.transpose(*remaining, *reduced).reshape(-1, count)


def view_windows(places: Array, options: Any, shape: Sequence[int]) -> Array:
    """Return the places in the window of each value of a pooling, [values, count].

    Raises:
        Unsupported: a window crosses the border, or there is an activation function.
    """
    kernel, strides = (options.filterHeight, options.filterWidth), (options.strideH, options.strideW)
    extents = [(n - 1) * s + k for n, s, k in zip(shape[1:3], strides, kernel, strict=True)]
    crosses_border = any(size > limit for size, limit in zip(extents, places.shape[1:3], strict=True))
    if options.fusedActivationFunction or crosses_border:
        raise Unsupported("a pooling over the border, or with an activation function")
    views = np.lib.stride_tricks.sliding_window_view(places, kernel, (1, 2))
    views = views[:, :: strides[0], :: strides[1]]
    return np.ascontiguousarray(views[:, : shape[1], : shape[2]]).reshape(-1, kernel[0] * kernel[1])
