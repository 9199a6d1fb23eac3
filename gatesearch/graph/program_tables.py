"""The bytes of an int8 program besides constants and activations: tables of its file, and structures of its arena.

The constants below were fitted to .tflite files and to the record of allocations of TensorFlow Lite Micro (TFLM, 64-bit
build).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

from gatesearch.graph.element_work import BATCH_NORMS
from gatesearch.graph.operator_log import BIAS_BYTES, Operand, Operation
from gatesearch.graph.tensor_lifetimes import LINEAR, is_transposed, padded_values, read_values, steps

AVERAGES = frozenset({"avg_pool2d", "_adaptive_avg_pool2d", "mean"})
MAX_TAPS = 25  # elements of the largest pooling window for which an average becomes one convolution, not two

# Bytes of a .tflite file: per file with its input, per operator, per tensor with and without scales, per constant that
# says how an operator reshapes, transposes or pads, and per channel of weights, and of biases (a scale and a
# zero point).
FILE_BYTES, FILE_OPERATOR_BYTES, SCALED_TENSOR_BYTES, PLAIN_TENSOR_BYTES = 810, 28, 107, 65
SETTING_BYTES, CHANNEL_BYTES = 16, 12
# Bytes of TFLM's arena: per program, per operator, per tensor, and per output channel of a product (a factor and a
# shift).
ARENA_BYTES, NODE_BYTES, ARENA_TENSOR_BYTES, FACTOR_BYTES = 730, 64, 24, 8
# Further bytes of the arena per operator, for its parameters and what it prepares.
PRODUCT_BYTES, OTHER_BYTES = 108, 36
PREPARED_BYTES = {
    "add": 72, "sub": 72, "mul": 56, "squared_difference": 72, "mean": 64, "sum": 64, "cat": 96, "pad": 64,
    "max_pool2d_with_indices": 84, "avg_pool2d": 84, "sigmoid": 24, "tanh": 24, "hardswish": 40, "_softmax": 88,
    "clone": 0, "slice": 0,
}  # fmt: skip
# Operators of two operands, of which one may be a constant.
WITH_CONSTANTS = frozenset({"add", "sub", "rsub", "mul", "div", "maximum", "minimum", "pow"})
# Operators that copy a map of channels in groups in another order: it has five axes, and .tflite's maps have their
# channels last.
SHUFFLE = ("clone", "reshape", "clone", "reshape", "clone")
SHUFFLES = frozenset({"channel_shuffle", "native_channel_shuffle"})
# A recurrent layer runs in float, step by step. STEP_OPERATORS counts the operators of one step.
# SEQUENCE_OPERATORS counts the operators that put the output of one step into a sequence. Each of these operators adds
# STEP_TENSOR_BYTES to the .tflite file and STEP_OPERATOR_BYTES to the arena.
STEP_OPERATORS, SEQUENCE_OPERATORS = {"lstm": 17, "gru": 19}, 1
STEP_TENSOR_BYTES, STEP_OPERATOR_BYTES = 109, 115


class ProgramTables(NamedTuple):
    """The bytes of a program besides its constants and activations.

    Args:
        file_bytes: size of the file's tables without :data:`FILE_BYTES`.
        arena_bytes: size of the arena's structures without :data:`ARENA_BYTES`.
    """

    file_bytes: int
    arena_bytes: int


def program_tables(operations: Sequence[Operation]) -> ProgramTables:
    """Return the bytes of a program's tables and structures.

    Args:
        operations: the operators in the order in which they run, as
            :func:`gatesearch.graph.program_operators.program_operators` returns them.
    """
    shapes = {output.number: output.shape for each in operations for output in each.outputs}
    file_bytes = arena_bytes = 0
    settings = set[Hashable]()
    biased = biased_products(operations)
    averages = set[Hashable]()  # average poolings of one window and as many channels share their weights
    for operation in operations:
        if operation.layer is not None:
            cells = _step_operators(operation, operations)
            file_bytes += STEP_TENSOR_BYTES * cells
            arena_bytes += STEP_OPERATOR_BYTES * cells
            continue
        names = [] if operation.is_fused else _operators(operation, shapes)
        if _is_vector_product(operation):
            names += ["reshape"] * _reshapes(operation, operations, shapes)
        is_scaled = all(output.width_bytes == 1 for output in operation.outputs)
        products = names.count("product")
        constants = 0 if products or not names else _scalars(operation)
        own = _settings(operation, names, shapes) - settings
        settings |= own
        channels = _product_channels(operation) if products else 0
        weights, biases = products, products * (operation.outputs[0].number in biased)
        if is_average_pool(operation):
            file_bytes += BIAS_BYTES * biases * channels
            weights = 0 if _average_shape(operation) in averages else products
            averages.add(_average_shape(operation))
            file_bytes += channels * _taps(operation) if weights else 0
        tensor_bytes = SCALED_TENSOR_BYTES if is_scaled else PLAIN_TENSOR_BYTES
        file_bytes += len(names) * (FILE_OPERATOR_BYTES + tensor_bytes)
        file_bytes += (weights + biases) * (SCALED_TENSOR_BYTES + CHANNEL_BYTES * channels)
        file_bytes += constants * SCALED_TENSOR_BYTES
        file_bytes += len(own) * (PLAIN_TENSOR_BYTES + SETTING_BYTES)
        arena_bytes += ARENA_TENSOR_BYTES * (len(names) + weights + biases + constants + len(own))
        arena_bytes += FACTOR_BYTES * products * channels
        arena_bytes += sum(NODE_BYTES + _prepared_bytes(name) for name in names)
    return ProgramTables(file_bytes, arena_bytes)


def _prepared_bytes(name: str) -> int:
    return PRODUCT_BYTES if name == "product" else PREPARED_BYTES.get(name.removesuffix("_"), OTHER_BYTES)


def _operators(operation: Operation, shapes: Mapping[int, tuple[int, ...]]) -> list[str]:
    """Return the names of the .tflite operators that compute an operation, with those that copy its inputs."""
    names = ["pad"] if padded_values(operation) else []
    if is_average_pool(operation):
        return [*names, *["product"] * _convolutions(operation)]
    if operation.name in LINEAR and weights_of(operation):
        written = shapes.get(operation.data[0].number, ()) if operation.data else ()
        is_map = len(written) == 4 and math.prod(written[2:]) > 1
        return [*names, *(["clone"] if is_map else []), "product"]
    if weights_of(operation):
        return [*names, "product"]
    if operation.name in SHUFFLES or (operation.name == "clone" and operation.outputs[0].ndim > 4):
        return [*names, *SHUFFLE]
    if operation.name in BATCH_NORMS:
        return [*names, "mul", "add"]
    return [*names, operation.name]


def _scalars(operation: Operation) -> int:
    """Return the number of constants that an operator without weights reads beside its data."""
    if operation.name.removesuffix("_") not in WITH_CONSTANTS:
        return 0
    return max(0, 2 - len(operation.data))


def _is_vector_product(operation: Operation) -> bool:
    """Say whether an operator is a linear layer on one vector, which becomes a convolution over a map of one pixel."""
    is_vector = operation.outputs[0].shape[:-1] == (1,)
    return operation.in_rewritten_layer and operation.name in LINEAR and is_vector and bool(weights_of(operation))


def _reshapes(operation: Operation, operations: Sequence[Operation], shapes: Mapping[int, tuple[int, ...]]) -> int:
    """Return the number of reshapes before and behind a linear layer; between two such layers there is none."""
    pixels = {output.number for each in operations if _is_vector_product(each) for output in each.outputs}
    for each in operations:
        if each.is_fused and each.data[0].number in pixels:
            pixels.update(output.number for output in each.outputs)
    [source, *_] = operation.data
    written = shapes.get(source.number, source.shape)
    before = source.number not in pixels and not (len(written) == 4 and math.prod(written[2:]) == 1)
    ends = {operation.outputs[0].number}
    for each in operations:
        if each.is_fused and each.data[0].number in ends:
            ends.update(output.number for output in each.outputs)
    readers = [each for each in operations if not each.is_fused and ends & {operand.number for operand in each.data}]
    behind = not readers or not all(map(_is_vector_product, readers))
    return before + behind


def _settings(operation: Operation, names: Sequence[str], shapes: Mapping[int, tuple[int, ...]]) -> set[Hashable]:
    """Return the constants that say how an operation reshapes, transposes, slices, pads or reduces its input.

    Operators with the same such constant share it.
    """
    rank = operation.outputs[0].ndim
    settings: set[Hashable] = set()
    for place, name in enumerate(names):
        if name == "pad":
            settings.add(("pad", str(operation.args[3:5]), rank))
        elif name == "clone":
            settings.add((name, rank, place))
        elif name == "reshape":
            settings.add((name, operation.outputs[0].shape, place))
        elif name == "slice":
            settings |= {(name, "begin", operation.outputs[0]), (name, "size", operation.outputs[0].shape)}
        elif name in ("mean", "sum", "amax", "argmax", "argmin"):
            settings.add((name, str(operation.args[1:2])))
    if is_transposed(operation):
        settings.add(("shape", operation.outputs[0].shape))
    return settings


def _product_channels(operation: Operation) -> int:
    """Return the number of output channels of a product; those of an average pooling are those of its input."""
    return int(operation.args[0].shape[1]) if is_average_pool(operation) else output_channels(operation)


def output_channels(operation: Operation) -> int:
    """Return the number of output channels of a product with weights."""
    [output, *_] = operation.outputs
    return output.shape[1] if operation.name == "convolution" else output.shape[-1]


def is_average_pool(operation: Operation) -> bool:
    """Say whether an operator is an average pooling, which becomes depthwise convolutions.

    PyTorch runs a pooling over a whole map as a mean. A pooling with a divisor of its own stays a pooling, and so does
    one whose last windows may reach beyond the map (``ceil_mode``).
    """
    has_own_divisor = operation.name == "avg_pool2d" and (any(operation.args[4:5]) or any(operation.args[6:7]))
    return operation.in_rewritten_layer and operation.name in AVERAGES and not has_own_divisor


def weights_of(operation: Operation) -> list[Operand]:
    """Return the constants of a product, bias included; empty for any other operator."""
    if not operation.macs:
        return []
    return [operand for operand in operation.inputs if operand.is_constant and math.prod(operand.shape) > 1]


def biased_products(operations: Sequence[Operation]) -> set[int]:
    """Return the numbers of the results of products that have a bias in the program.

    A convolution always has one, and so has what becomes a convolution. The bias of another product is one of its
    operands, or an operator behind it adds it.
    """
    biased = {each.data[0].number for each in operations if each.is_fused and each.name in ("add", "add_", "sub")}
    for each in operations:
        is_convolution = each.name == "convolution" or is_average_pool(each) or _is_vector_product(each)
        if is_convolution or any(operand.ndim == 1 for operand in weights_of(each)):
            biased.add(each.outputs[0].number)
    return biased


def _average_shape(operation: Operation) -> Hashable:
    """Return the number of channels and the window of an average pooling."""
    return operation.args[0].shape[1], _window(operation)


def _taps(operation: Operation) -> int:
    """Return the number of taps of the depthwise convolutions that an average pooling becomes."""
    height, width = _window(operation)
    return height * width if _convolutions(operation) == 1 else height + width


def _window(operation: Operation) -> tuple[int, int]:
    x = operation.args[0]
    window = operation.args[1] if operation.name == "avg_pool2d" else x.shape[2:]
    return window[0], window[-1]


def _convolutions(operation: Operation) -> int:
    """Return the number of convolutions of an average pooling; see :mod:`gatesearch.compile.average_pool`."""
    return 1 if math.prod(_window(operation)) <= MAX_TAPS else 2


def _step_operators(operation: Operation, operations: Sequence[Operation]) -> int:
    """Return the number of operators that a recurrent layer becomes when it runs step by step.

    Where a later operator or the next stacked layer reads the whole sequence, a concatenation collects the outputs of
    all steps.
    """
    layer = operation.layer
    assert layer is not None
    cells = steps(operation) * (2 if layer.bidirectional else 1)
    whole = layer.num_layers - 1 + (read_values(operation.outputs[0], operations) == operation.outputs[0].numel())
    return cells * (layer.num_layers * STEP_OPERATORS[operation.name] + whole * SEQUENCE_OPERATORS)
