"""The tensors of an int8 program: their sizes and the time for which each is in memory."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gatesearch.graph.lifetimes import CONVERTED, OWN, SCRATCH, Lifetime
from gatesearch.graph.operator_log import Operand, Operation
from gatesearch.graph.products import is_transposed

SUM_BYTES = 4  # int32
CONVERSIONS = frozenset({"dequantize", "quantize"})
# A recurrent layer runs in float, step by step. GATES counts its matrices that multiply the state.
GATES = {"lstm": 4, "gru": 3}


def lifetimes(operations: Sequence[Operation], results: Sequence[Operand]) -> list[Lifetime]:
    """Return the lifetimes of the tensors of a program, including its input and its results.

    Some operators read a copy of their input. A convolution or pooling reads a padded copy if a .tflite operator does
    not support its padding. A transposed convolution adds up its results in a buffer of int32 sums, as other operators
    do in registers. Outputs that no operator reads, such as the indices of a pooling, take no memory.

    Args:
        operations: the operators in the order in which they run, as
            :func:`gatesearch.graph.program_operators.program_operators` returns them.
        results: the tensors that the program returns.
    """
    homes: dict[int, int] = {}  # for a tensor that lies in another tensor's memory: that other tensor
    sizes: dict[int, int] = {}
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    temporary: list[Lifetime] = []
    converted = {output.number for each in operations if each.name in CONVERSIONS for output in each.outputs}
    end = 2 * len(operations)
    read = {operand.number for each in operations for operand in each.data} | {operand.number for operand in results}
    for index, operation in enumerate(operations):
        step = 2 * index + 1  # in the step before, the operator's input may be copied
        if operation.is_fused:
            source = operation.data[0].number
            homes.update({output.number: homes.get(source, source) for output in operation.outputs})
        copy = copied_values(operation)
        if copy:
            temporary.append(Lifetime(copy, step - 1, step, is_temporary=True))
        sums = _summed_values(operation)
        if sums:
            temporary.append(Lifetime(SUM_BYTES * sums, step, step, is_temporary=True, group=SCRATCH))
        for operand in operation.data:
            home = homes.get(operand.number, operand.number)
            sizes[home] = max(sizes.get(home, 0), operand.size_bytes())
            first.setdefault(home, 0)
            last[home] = step - 1 if copy else step
        for output in operation.outputs:
            if output.number not in read:
                continue
            home = homes.get(output.number, output.number)
            size = output.size_bytes() if operation.layer is None else read_values(output, operations)
            sizes[home] = max(sizes.get(home, 0), size)
            first.setdefault(home, step)
            last[home] = step
    for operand in results:
        home = homes.get(operand.number, operand.number)
        if home in last:
            last[home] = end
        elif not operand.is_constant:  # the program returns its input
            sizes[home], first[home], last[home] = operand.numel(), 0, end
    tensors = [
        Lifetime(sizes[home], first[home], last[home], group=CONVERTED if home in converted else OWN) for home in sizes
    ]
    return [*temporary, *tensors]


def copied_values(operation: Operation) -> int:
    """Return the number of values in the copy of the input that an operator reads; 0 where it needs no copy."""
    if operation.layer is not None:  # a recurrent layer first computes the products of all steps' inputs
        return steps(operation) * GATES[operation.name] * operation.layer.hidden_size
    return padded_values(operation)


def padded_values(operation: Operation) -> int:
    """Return the number of values in the padded copy of an operator's input; 0 where the operator pads by itself.

    A .tflite operator itself can pad an axis of n values so that it computes ceil(n / stride) outputs (padding "same").
    It pads both sides equally, or the end by one more. Any other padding needs an operator of its own, which writes a
    copy.
    """
    if operation.name == "convolution":
        x, weight, _, strides, paddings, dilations, transposed, *_ = operation.args
        kernel = weight.shape[2:]
    elif operation.name == "max_pool2d_with_indices" and len(operation.args) > 3:
        x, kernel, strides, paddings, *rest = operation.args
        dilations, transposed = rest[0] if rest else (1,), False
    else:
        return 0
    sizes = x.shape[-len(kernel) :]
    axes = [
        (size, kernel[i], *(each[i % len(each)] for each in (strides, paddings, dilations)))
        for i, size in enumerate(sizes)
    ]
    if transposed or not any(padding for *_, padding, _ in axes) or all(_is_same(*axis) for axis in axes):
        return 0
    channels = x.numel() // math.prod(sizes)
    return channels * math.prod(size + 2 * padding for size, _, _, padding, _ in axes)


def read_values(output: Operand, operations: Sequence[Operation]) -> int:
    """Return the largest number of a tensor's values that one operator reads; all values if none reads the tensor.

    An operator may read only the last step of a sequence, for example.
    """
    reads = [each.numel() for operation in operations for each in operation.data if each.number == output.number]
    return max(reads, default=output.numel())


def steps(operation: Operation) -> int:
    """Return the number of time steps of a recurrent layer's input."""
    assert operation.layer is not None
    x = operation.inputs[0]
    return x.shape[1 if operation.layer.batch_first and x.ndim == 3 else 0]


def _summed_values(operation: Operation) -> int:
    """Return the number of int32 sums that an operator stores while it runs."""
    return operation.outputs[0].numel() if is_transposed(operation) else 0


def _is_same(size: int, kernel: int, stride: int, padding: int, dilation: int) -> bool:
    places = -(-size // stride)
    return 2 * padding == max(0, (places - 1) * stride + dilation * (kernel - 1) + 1 - size)
