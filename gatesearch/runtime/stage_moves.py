"""Moves of values in a .tflite program: new places of the same values, without an operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gatesearch.runtime.stage_operators import OperatorList, Unsupported


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
