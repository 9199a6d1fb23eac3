"""Adds the slices of a program: operators that copy a part of a tensor for an operator that reads only this part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count

from torch.utils._pytree import tree_map

from gatesearch.graph.operator_log import Operand, Operation
from gatesearch.graph.views import SLICE


def with_slices(operations: Sequence[Operation], numbers: Iterator[int]) -> Iterator[Operation]:
    """Yield the operators, and the slices that copy a part of a tensor for an operator that reads only this part.

    All slices of a tensor stand before the first operator that reads one of them. The output of a recurrent layer needs
    no slice, because the layer writes only the time steps that are read.
    """
    outputs: dict[int, Operand] = {}  # by number of the tensor: the operand that an operator writes
    reads: dict[int, list[tuple[int, int]]] = {}  # by number of the tensor: index and operand of each reader of a part
    for index, operation in enumerate(operations):
        for place, operand in enumerate(operation.data):
            if operand.number in outputs and operand.numel() < outputs[operand.number].numel():
                reads.setdefault(operand.number, []).append((index, place))
        if operation.layer is None:
            outputs.update({output.number: output for output in operation.outputs})
    parts: dict[tuple[int, int], Operand] = {}  # by index and operand of a reader: the output of its slice
    for index, operation in enumerate(operations):
        for operand in operation.data:
            for reader, place in reads.pop(operand.number, ()):
                whole, part = _split_views(outputs[operand.number], operations[reader].data[place], next(numbers))
                parts[reader, place] = part
                output = replace(part, shape=part.views[0].source if part.views else part.shape, views=())
                yield Operation("slice", (whole,), (output,), macs=0, values=0)
        places = count()

        def read(leaf: object, index: int = index, places: Iterator[int] = places) -> object:
            is_data = isinstance(leaf, Operand) and not leaf.is_constant
            return parts.get((index, next(places)), leaf) if is_data else leaf

        yield replace(operation, args=tuple(tree_map(read, list(operation.args))))


def _split_views(tensor: Operand, part: Operand, number: int) -> tuple[Operand, Operand]:
    """Return the operand that a slice reads, and the operand that an operator reads from the slice.

    Args:
        tensor: the whole tensor.
        part: the part of it that an operator reads.
        number: number of the slice.
    """
    place = max((i for i, view in enumerate(part.views) if view.kind == SLICE), default=None)
    if place is None:
        return tensor, replace(part, number=number, views=())
    before = part.views[:place]
    whole = replace(tensor, shape=part.views[place].source, views=before)
    return whole, replace(part, number=number, views=part.views[place + 1 :])
