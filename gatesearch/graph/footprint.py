"""The cost of a module as an int8 program: multiply-accumulates, other work, bytes of flash and SRAM."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gatesearch.graph.lifetimes import Lifetime, plan_arena
from gatesearch.graph.operator_log import Operand, Operation, OperatorLog

BIAS_BYTES = 4  # int32
LINEAR = frozenset({"mm", "addmm", "linear"})
AVERAGES = frozenset({"avg_pool2d", "_adaptive_avg_pool2d", "mean"})
MAX_TAPS = 25  # largest window of an average pooling that becomes one convolution; a larger one becomes two

# Bytes of a .tflite file besides constants: per file, per tensor, and per channel of weights and biases. They hold
# tables, and a scale and a zero point for each channel.
FILE_BYTES, TENSOR_BYTES, CHANNEL_BYTES = 560, 130, 24
# Bytes of the arena of TensorFlow Lite Micro (TFLM, 64-bit build) besides activations: per program, per operator, and
# per channel. They hold structures, and a factor and a shift for each channel.
ARENA_BYTES, OPERATOR_BYTES, FACTOR_BYTES = 640, 230, 8
# A recurrent layer runs in float, step by step. GATES counts its matrices that multiply the state. STEP_OPERATORS
# counts the operators of one step. SEQUENCE_OPERATORS counts the operators that put the output of one step into a
# sequence. Each of these operators adds STEP_TENSOR_BYTES to the .tflite file and STEP_OPERATOR_BYTES to the arena.
GATES = {"lstm": 4, "gru": 3}
STEP_OPERATORS, SEQUENCE_OPERATORS = {"lstm": 17, "gru": 19}, 1
STEP_TENSOR_BYTES, STEP_OPERATOR_BYTES = 109, 115


class Footprint(NamedTuple):
    """The cost of a module as an int8 program for one sample, estimated without a conversion.

    Args:
        macs: number of multiply-accumulates.
        values: number of values of other work, as :mod:`gatesearch.graph.element_work` counts them.
        weight_bytes: size of all constants that operators read, buffers included: int8 weights, int32 biases.
        activation_bytes: size of the arena that holds all activations; :mod:`gatesearch.graph.lifetimes` plans it.
        file_overhead_bytes: size of the .tflite file without its constants and without :data:`FILE_BYTES`.
        arena_overhead_bytes: size of TensorFlow Lite Micro's arena without activations and :data:`ARENA_BYTES`.
        lifetimes: lifetimes of the program's tensors, from which an arena of several joined programs can be planned.
    """

    macs: float
    values: float
    weight_bytes: float
    activation_bytes: float
    file_overhead_bytes: float
    arena_overhead_bytes: float
    lifetimes: tuple[Lifetime, ...]

    @property
    def file_bytes(self) -> float:
        """Bytes of the program's .tflite file."""
        return FILE_BYTES + self.weight_bytes + self.file_overhead_bytes

    @property
    def arena_bytes(self) -> float:
        """Bytes of TensorFlow Lite Micro's arena for the program."""
        return ARENA_BYTES + self.activation_bytes + self.arena_overhead_bytes


def program_footprint(module: nn.Module, example: Tensor) -> Footprint:
    """Return the footprint of a module as an int8 program, for one sample [1, ...]."""
    with OperatorLog(module) as log, torch.no_grad():
        module(example)
    records = log.operations()
    operations = [each for each in records if not each.is_fused]
    averages = [each for each in operations if _is_average_pool(each)]
    weighted = [each for each in operations if _weights(each) and each.layer is None]
    steps = sum(_step_operators(each, records) for each in operations if each.layer is not None)
    channels = sum(map(output_channels, weighted)) + sum(
        _convolutions(each) * each.args[0].shape[1] for each in averages
    )
    tensors_of = lifetimes(records, log.results)
    copies = sum(1 for each in tensors_of if each.is_copy)
    pools = sum(map(_convolutions, averages))
    count = len(operations) + pools - len(averages) + copies + 2 * any(each.name in LINEAR for each in weighted)
    tensors = count + 2 * len(weighted) + 2 * pools
    file_bytes = sum(map(_average_bytes, averages)) + TENSOR_BYTES * tensors + CHANNEL_BYTES * channels
    arena_bytes = OPERATOR_BYTES * count + FACTOR_BYTES * channels
    return Footprint(
        macs=float(sum(each.macs for each in records)),
        values=float(sum(each.values for each in records)),
        weight_bytes=float(sum(_constants(records).values())),
        activation_bytes=float(plan_arena(tensors_of)),
        file_overhead_bytes=float(file_bytes + STEP_TENSOR_BYTES * steps),
        arena_overhead_bytes=float(arena_bytes + STEP_OPERATOR_BYTES * steps),
        lifetimes=tuple(tensors_of),
    )


def _step_operators(operation: Operation, operations: Sequence[Operation]) -> int:
    """Return the number of operators that a recurrent layer becomes when it runs step by step.

    Where a later operator or the next stacked layer reads the whole sequence, a concatenation collects the outputs of
    all steps.
    """
    layer = operation.layer
    assert layer is not None
    cells = _steps(operation) * (2 if layer.bidirectional else 1)
    whole = layer.num_layers - 1 + (_read_values(operation.outputs[0], operations) == operation.outputs[0].numel())
    return cells * (layer.num_layers * STEP_OPERATORS[operation.name] + whole * SEQUENCE_OPERATORS)


def _read_values(output: Operand, operations: Sequence[Operation]) -> int:
    """Return the largest number of a tensor's values that one operator reads; all values if none reads the tensor.

    An operator may read only the last step of a sequence, for example.
    """
    reads = [each.numel() for operation in operations for each in operation.data if each.number == output.number]
    return max(reads, default=output.numel())


def _steps(operation: Operation) -> int:
    assert operation.layer is not None
    x = operation.inputs[0]
    return x.shape[1 if operation.layer.batch_first and x.ndim == 3 else 0]


def lifetimes(operations: Sequence[Operation], results: Sequence[Operand]) -> list[Lifetime]:
    """Return the lifetimes of the tensors of a program, including its input and its results.

    Some operators read a copy of their input. A convolution or pooling reads a padded copy if a .tflite operator does
    not support its padding. A linear layer behind a map of several pixels reads a copy of the map in PyTorch's order.
    Outputs that no operator reads, such as the indices of a pooling, take no memory.

    Args:
        operations: the operators in the order in which they run.
        results: the tensors that the program returns.
    """
    homes: dict[int, int] = {}  # for a tensor that lies in another tensor's memory: that other tensor
    sizes: dict[int, int] = {}
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    copies: list[Lifetime] = []
    shapes: dict[int, tuple[int, ...]] = {}
    end = 2 * len(operations)
    read = {operand.number for each in operations for operand in each.data} | {operand.number for operand in results}
    for index, operation in enumerate(operations):
        step = 2 * index + 1  # in the step before, the operator's input may be copied
        if operation.is_fused:
            source = operation.data[0].number
            homes.update({output.number: homes.get(source, source) for output in operation.outputs})
        copy = copied_values(operation, shapes)
        if copy:
            copies.append(Lifetime(copy, step - 1, step, is_copy=True))
        shapes.update({output.number: output.shape for output in operation.outputs})
        for operand in operation.data:
            home = homes.get(operand.number, operand.number)
            sizes[home] = max(sizes.get(home, 0), operand.numel())
            first.setdefault(home, 0)
            last[home] = step - 1 if copy else step
        for output in operation.outputs:
            if output.number not in read:
                continue
            home = homes.get(output.number, output.number)
            size = output.numel() if operation.layer is None else _read_values(output, operations)
            sizes[home] = max(sizes.get(home, 0), size)
            first.setdefault(home, step)
            last[home] = step
    for operand in results:
        home = homes.get(operand.number, operand.number)
        if home in last:
            last[home] = end
        elif not operand.is_constant:  # the program returns its input
            sizes[home], first[home], last[home] = operand.numel(), 0, end
    return [*copies, *(Lifetime(sizes[home], first[home], last[home]) for home in sizes)]


def copied_values(operation: Operation, shapes: Mapping[int, tuple[int, ...]]) -> int:
    """Return the number of values in the copy of the input that an operator reads; 0 where it needs no copy.

    Args:
        operation: the operator.
        shapes: for the tensors that earlier operators wrote, their shapes by number.
    """
    if operation.layer is not None:  # a recurrent layer first computes the products of all steps' inputs
        return _steps(operation) * GATES[operation.name] * operation.layer.hidden_size
    if operation.name in LINEAR and operation.data:
        written = shapes.get(operation.data[0].number, ())
        return math.prod(written) if len(written) == 4 and math.prod(written[2:]) > 1 else 0
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


def _is_same(size: int, kernel: int, stride: int, padding: int, dilation: int) -> bool:
    places = -(-size // stride)
    return 2 * padding == max(0, (places - 1) * stride + dilation * (kernel - 1) + 1 - size)


def _constants(operations: Sequence[Operation]) -> dict[int, int]:
    """Return the bytes of each constant that operators read, by its number; every product counts as having a bias."""
    sizes: dict[int, int] = {}
    for operation in operations:
        for operand in operation.inputs:
            if operand.is_constant and not operation.is_fused:
                # A bias is int32. A recurrent layer runs in float, where weights and biases have the same size.
                is_wide = operand.ndim == 1 and operation.layer is None
                sizes[operand.number] = operand.numel() * (BIAS_BYTES if is_wide else 1)
        if operation.layer is None and _weights(operation):
            biases = [operand for operand in operation.inputs if operand.is_constant and operand.ndim == 1]
            if not biases:
                sizes[-1 - operation.outputs[0].number] = BIAS_BYTES * output_channels(operation)
    return sizes


def output_channels(operation: Operation) -> int:
    """Return the number of output channels of a product with weights."""
    [output, *_] = operation.outputs
    return output.shape[1] if operation.name == "convolution" else output.shape[-1]


def _is_average_pool(operation: Operation) -> bool:
    """Say whether an operator is an average pooling, which becomes depthwise convolutions.

    PyTorch runs a pooling over a whole map as a mean.
    """
    return operation.in_pool_layer and operation.name in AVERAGES


def _average_bytes(operation: Operation) -> int:
    """Return the bytes of the depthwise convolutions that an average pooling becomes."""
    height, width = _window(operation)
    taps = height * width if _convolutions(operation) == 1 else height + width
    return int(operation.args[0].shape[1] * (taps + _convolutions(operation) * BIAS_BYTES))


def _window(operation: Operation) -> tuple[int, int]:
    x = operation.args[0]
    window = operation.args[1] if operation.name == "avg_pool2d" else x.shape[2:]
    return window[0], window[-1]


def _convolutions(operation: Operation) -> int:
    """Return the number of convolutions of an average pooling; see :mod:`gatesearch.compile.average_pool`."""
    return 1 if math.prod(_window(operation)) <= MAX_TAPS else 2


def _weights(operation: Operation) -> list[Operand]:
    if not operation.macs:
        return []
    return [operand for operand in operation.inputs if operand.is_constant and math.prod(operand.shape) > 1]
