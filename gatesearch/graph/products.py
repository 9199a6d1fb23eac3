"""Describes the products of a program: operators with weights, and average poolings that become convolutions."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

from gatesearch.graph.average_pool import Window, factor_window
from gatesearch.graph.operator_log import Operand, Operation

LINEAR = frozenset({"mm", "addmm", "linear"})
AVERAGES = frozenset({"avg_pool2d", "_adaptive_avg_pool2d", "mean"})


def weights_of(operation: Operation) -> list[Operand]:
    """Return the constants of a product, bias included; empty for any other operator."""
    if not operation.macs:
        return []
    return [operand for operand in operation.inputs if operand.is_constant and math.prod(operand.shape) > 1]


def is_transposed(operation: Operation) -> bool:
    """Say whether an operator is a transposed convolution."""
    return operation.name == "convolution" and bool(operation.args[6])


def is_vector_product(operation: Operation) -> bool:
    """Say whether an operator is a linear layer on one vector, which becomes a convolution over a map of one pixel."""
    is_vector = operation.outputs[0].shape[:-1] == (1,)
    return operation.in_rewritten_layer and operation.name in LINEAR and is_vector and bool(weights_of(operation))


def is_average_pool(operation: Operation) -> bool:
    """Say whether an operator is an average pooling, which becomes depthwise convolutions.

    PyTorch runs a pooling over a whole map as a mean. A pooling with a divisor of its own stays a pooling, and so does
    one whose last windows may reach beyond the map (``ceil_mode``).
    """
    has_own_divisor = operation.name == "avg_pool2d" and (any(operation.args[4:5]) or any(operation.args[6:7]))
    return operation.in_rewritten_layer and operation.name in AVERAGES and not has_own_divisor


def product_channels(operation: Operation) -> int:
    """Return the number of output channels of a product; an average pooling has as many as input channels."""
    return int(operation.args[0].shape[1]) if is_average_pool(operation) else output_channels(operation)


def output_channels(operation: Operation) -> int:
    """Return the number of output channels of a product with weights."""
    [output, *_] = operation.outputs
    return output.shape[1] if operation.name == "convolution" else output.shape[-1]


def biased_products(operations: Sequence[Operation]) -> set[int]:
    """Return the numbers of the results of products that have a bias in the program.

    Convolutions, and operators that become convolutions, always have a bias. Another product has one if it has a bias
    among its operands, or if the operator behind it adds a bias.
    """
    biased = {each.data[0].number for each in operations if each.is_fused and each.name in ("add", "add_", "sub")}
    for each in operations:
        is_convolution = each.name == "convolution" or is_average_pool(each) or is_vector_product(each)
        if is_convolution or any(operand.ndim == 1 for operand in weights_of(each)):
            biased.add(each.outputs[0].number)
    return biased


def average_shape(operation: Operation) -> Hashable:
    """Return the number of channels and the window of an average pooling."""
    return operation.args[0].shape[1], _window(operation)


def average_taps(operation: Operation) -> int:
    """Return the number of taps of the depthwise convolutions that an average pooling becomes."""
    return sum(window.taps for window in _factors(operation))


def average_convolutions(operation: Operation) -> int:
    """Return the number of depthwise convolutions that an average pooling becomes."""
    return len(_factors(operation))


def _factors(operation: Operation) -> tuple[Window, ...]:
    """Return the poolings of small windows that replace an average pooling."""
    kernel = _window(operation)
    strides = [kernel, *operation.args[2:3]][-1] if operation.name == "avg_pool2d" else kernel
    padding = [(0, 0), *operation.args[3:4]][-1] if operation.name == "avg_pool2d" else (0, 0)
    stride = strides or kernel
    return factor_window(Window(kernel, (stride[0], stride[-1]), (padding[0], padding[-1])))


def _window(operation: Operation) -> tuple[int, int]:
    x = operation.args[0]
    window = operation.args[1] if operation.name == "avg_pool2d" else x.shape[2:]
    return window[0], window[-1]
