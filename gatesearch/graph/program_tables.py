"""The bytes of an int8 program besides constants and activations: tables of its file, and structures of its arena.

The constants below were fitted to .tflite files and to the record of allocations of TensorFlow Lite Micro (TFLM, 64-bit
build).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

from gatesearch.graph.element_work import BATCH_NORMS
from gatesearch.graph.operator_log import BIAS_BYTES, Operation
from gatesearch.graph.products import (
    average_convolutions,
    average_shape,
    average_taps,
    biased_products,
    is_average_pool,
    is_transposed,
    product_channels,
    weights_of,
)
from gatesearch.graph.tensor_lifetimes import padded_values, read_values, steps

# Bytes of a .tflite file: of a file with its input, of an operator, and of a tensor with and without scales.
FILE_BYTES, FILE_OPERATOR_BYTES, SCALED_TENSOR_BYTES, PLAIN_TENSOR_BYTES = 614, 28, 89, 56
# Bytes of a constant that says how an operator reshapes, transposes or pads; of the scale of a channel of weights or
# biases; and of a channel's zero point. All these zero points are 0, and a file has one vector of them for each length.
SETTING_BYTES, SCALE_BYTES, ZERO_POINT_BYTES = 16, 4, 8
# Bytes of TFLM's arena: of a program, an operator, a tensor, and an output channel of a product (a factor and a shift).
ARENA_BYTES, NODE_BYTES, ARENA_TENSOR_BYTES, FACTOR_BYTES = 730, 64, 24, 8
# Further bytes of the arena for each operator: its parameters, and the data that it prepares before the first run.
PRODUCT_BYTES, OTHER_BYTES = 108, 36
PREPARED_BYTES = {
    "add": 72, "sub": 72, "mul": 56, "squared_difference": 72, "mean": 64, "sum": 64, "cat": 96, "pad": 64,
    "max_pool2d_with_indices": 84, "avg_pool2d": 84, "sigmoid": 24, "tanh": 24, "hardswish": 40, "_softmax": 88,
    "clone": 0, "transpose": 0, "slice": 0,
}  # fmt: skip
# Operators of two operands, of which one may be a constant.
WITH_CONSTANTS = frozenset({"add", "sub", "rsub", "mul", "div", "maximum", "minimum", "pow"})
# A recurrent layer runs in float, step by step. STEP_OPERATORS counts the operators of one step.
# SEQUENCE_OPERATORS counts the operators that put the output of one step into a sequence. Each of these operators adds
# STEP_TENSOR_BYTES to the .tflite file and STEP_OPERATOR_BYTES to the arena.
STEP_OPERATORS, SEQUENCE_OPERATORS = {"lstm": 17, "gru": 19}, 1
STEP_TENSOR_BYTES, STEP_OPERATOR_BYTES = 90, 115


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
    file_bytes = arena_bytes = 0
    settings = set[Hashable]()
    biased = biased_products(operations)
    lengths = set[int]()  # numbers of channels of all products
    averages = set[Hashable]()  # average poolings with equal windows and numbers of channels share their weights
    for operation in operations:
        if operation.layer is not None:
            cells = _step_operators(operation, operations)
            file_bytes += STEP_TENSOR_BYTES * cells
            arena_bytes += STEP_OPERATOR_BYTES * cells
            continue
        names = [] if operation.is_fused else _operators(operation)
        is_scaled = all(output.width_bytes == 1 for output in operation.outputs)
        products = names.count("product")
        constants = 0 if products or not names else _scalars(operation)
        own = _settings(operation, names) - settings
        settings |= own
        channels = product_channels(operation) if products else 0
        weights, biases = products, products * (operation.outputs[0].number in biased)
        if is_average_pool(operation):
            file_bytes += BIAS_BYTES * biases * channels
            weights = 0 if average_shape(operation) in averages else products
            averages.add(average_shape(operation))
            file_bytes += channels * average_taps(operation) if weights else 0
        tensor_bytes = SCALED_TENSOR_BYTES if is_scaled else PLAIN_TENSOR_BYTES
        file_bytes += len(names) * (FILE_OPERATOR_BYTES + tensor_bytes)
        file_bytes += (weights + biases) * (SCALED_TENSOR_BYTES + SCALE_BYTES * channels)
        lengths.add(channels)
        file_bytes += constants * SCALED_TENSOR_BYTES
        file_bytes += len(own) * (PLAIN_TENSOR_BYTES + SETTING_BYTES)
        arena_bytes += ARENA_TENSOR_BYTES * (len(names) + weights + biases + constants + len(own))
        arena_bytes += FACTOR_BYTES * products * channels
        arena_bytes += sum(NODE_BYTES + _prepared_bytes(name) for name in names)
    return ProgramTables(file_bytes + ZERO_POINT_BYTES * sum(lengths), arena_bytes)


def _prepared_bytes(name: str) -> int:
    return PRODUCT_BYTES if name == "product" else PREPARED_BYTES.get(name.removesuffix("_"), OTHER_BYTES)


def _operators(operation: Operation) -> list[str]:
    """Return the names of the .tflite operators that compute an operation, with those that copy its inputs."""
    names = ["pad"] if padded_values(operation) else []
    if is_average_pool(operation):
        return [*names, *["product"] * average_convolutions(operation)]
    if weights_of(operation):
        return [*names, "product"]
    if operation.name in BATCH_NORMS:
        return [*names, "mul", "add"]
    return [*names, operation.name]


def _scalars(operation: Operation) -> int:
    """Return the number of constants that an operator without weights reads beside its data."""
    if operation.name.removesuffix("_") not in WITH_CONSTANTS:
        return 0
    return max(0, 2 - len(operation.data))


def _settings(operation: Operation, names: Sequence[str]) -> set[Hashable]:
    """Return the constants that say how an operation reshapes, transposes, slices, pads or reduces its input.

    Operators with the same such constant share it.
    """
    rank = operation.outputs[0].ndim
    settings: set[Hashable] = set()
    for name in names:
        if name == "pad":
            settings.add(("pad", str(operation.args[3:5]), rank))
        elif name == "transpose":
            settings.add((name, str(operation.args[1].axes)))
        elif name == "reshape":
            settings.add((name, operation.outputs[0].shape))
        elif name == "slice":
            settings |= {(name, "begin", operation.outputs[0]), (name, "size", operation.outputs[0].shape)}
        elif name in ("mean", "sum", "amax", "argmax", "argmin"):
            settings.add((name, str(operation.args[1:2])))
    if is_transposed(operation):
        settings.add(("shape", operation.outputs[0].shape))
    return settings


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
