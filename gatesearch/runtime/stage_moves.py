"""Poolings, tables and moves of a .tflite program: as C operators, or as new places of the same values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gatesearch.runtime.stage_memory import Tensor
from gatesearch.runtime.stage_operators import OperatorList, Unsupported


def add_maximum(stage: OperatorList, options: Any, inputs: Sequence[int], output: int) -> None:
    """Add a maximum over windows."""
    source, kernel = stage.tensors[inputs[0]], (options.filterHeight, options.filterWidth)
    shape = stage.shape(output)
    strides = (options.strideH, options.strideW)
    extents = [(n - 1) * s + k for n, s, k in zip(shape[1:3], strides, kernel, strict=True)]
    crosses_border = any(size > limit for size, limit in zip(extents, source.places.shape[1:3], strict=True))
    if options.fusedActivationFunction or crosses_border:
        raise Unsupported("a maximum over the border, or with an activation function")
    views = np.lib.stride_tricks.sliding_window_view(source.places, kernel, (1, 2))
    views = views[:, :: strides[0], :: strides[1]]
    views = views[:, : shape[1], : shape[2]]
    places = stage.gather(views.reshape(-1, kernel[0] * kernel[1])).reshape(shape)
    stage.tensors[output] = source._replace(places=places)


def add_requantise(stage: OperatorList, options: Any, inputs: Sequence[int], output: int) -> None:
    """Add a table that converts values to another scale, as XNNPACK does.

    XNNPACK rounds the ratio of the two scales to 8 fractional bits. The product of a value and the ratio is then an
    integer number of 256ths. XNNPACK rounds this number half up.
    """
    source, tensor_info = stage.tensors[inputs[0]], stage.graph.tensors[output]
    scale, zero = stage.grid(output)
    ratio = source.scale / scale[0]
    if tensor_info.type != stage.schema.TensorType.INT8 or not 2**-8 <= ratio <= 2**7:
        raise Unsupported(f"{tensor_info.name.decode()} on a scale too far from what it is made of")
    steps = (np.arange(256) - source.zero) * int(np.rint(np.float32(256) * ratio))
    table = np.clip(((steps + 128) >> 8) + zero, 0, 255).astype(np.uint8)
    places = stage.gather(source.places.reshape(-1, 1), table).reshape(source.places.shape)
    stage.tensors[output] = Tensor(places, scale[0], zero)


def transpose(stage: OperatorList, options: Any, inputs: Sequence[int], output: int) -> None:
    """Reorder the axes."""
    source = stage.tensors[inputs[0]]
    order = stage.constant(inputs[1], np.int32)
    stage.tensors[output] = source._replace(places=source.places.transpose(order))


def reshape(stage: OperatorList, options: Any, inputs: Sequence[int], output: int) -> None:
    """Change the shape."""
    source = stage.tensors[inputs[0]]
    stage.tensors[output] = source._replace(places=source.places.reshape(stage.shape(output)))


def cut(stage: OperatorList, options: Any, inputs: Sequence[int], output: int) -> None:
    """Keep a box of the values."""
    source = stage.tensors[inputs[0]]
    starts = stage.constant(inputs[1], np.int32).tolist()
    box = tuple(slice(start, start + size) for start, size in zip(starts, stage.shape(output), strict=True))
    stage.tensors[output] = source._replace(places=source.places[box])


def cut_by_steps(stage: OperatorList, options: Any, inputs: Sequence[int], output: int) -> None:
    """Keep every n-th value of each axis of a box."""
    if options.ellipsisMask or options.newAxisMask or options.shrinkAxisMask:
        raise Unsupported("a slice that adds or drops axes")
    source = stage.tensors[inputs[0]]
    starts, ends, steps = (stage.constant(i, np.int32).tolist() for i in inputs[1:4])
    box = []
    for axis, (start, end, step) in enumerate(zip(starts, ends, steps, strict=True)):
        first = None if options.beginMask >> axis & 1 else start
        last = None if options.endMask >> axis & 1 else end
        box.append(slice(first, last, step))
    stage.tensors[output] = source._replace(places=source.places[tuple(box)])


def pad(stage: OperatorList, options: Any, inputs: Sequence[int], output: int) -> None:
    """Surround the values by zeros; a convolution of the result pads by itself where it can."""
    source = stage.tensors[inputs[0]]
    widths = stage.constant(inputs[1], np.int32).tolist()
    places = source.places
    for axis, (before, behind) in enumerate(widths):
        shape = list(places.shape)
        sides = [stage.fill([*shape[:axis], n, *shape[axis + 1 :]], source.zero) for n in (before, behind)]
        places = np.concatenate([sides[0], places, sides[1]], axis)
    stage.tensors[output] = source._replace(places=places)
    is_even = len(widths) == 4 and all(before == behind for before, behind in widths)
    if is_even and not any(widths[0] + widths[3]):
        stage.padded[output] = inputs[0], (widths[1][0], widths[2][0])


def concatenate(stage: OperatorList, options: Any, inputs: Sequence[int], output: int) -> None:
    """Join tensors along an axis."""
    sources = [stage.tensors[i] for i in inputs]
    scale, zero = stage.grid(output)
    if options.fusedActivationFunction or any((s.scale, s.zero) != (scale[0], zero) for s in sources):
        raise Unsupported("a concatenation of values on different scales")
    stage.tensors[output] = sources[0]._replace(places=np.concatenate([s.places for s in sources], options.axis))
