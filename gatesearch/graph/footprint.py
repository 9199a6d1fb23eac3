"""What a module costs as an int8 program: multiply-accumulates, element-wise work, and bytes in flash and in SRAM."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gatesearch.graph.lifetimes import Lifetime, plan_arena
from gatesearch.graph.operator_log import Operand, Operation, OperatorLog

BIAS_BYTES = 4  # int32


def static_costs(module: nn.Module, example: Tensor) -> dict[str, float]:
    """Return MACs, bytes of int8 weights and bytes of int8 activations alive at once, of one sample [1, ...].

    Weights are all constants that an operator reads, buffers as well; biases are int32. Activations are the arena of
    :mod:`gatesearch.graph.lifetimes`, in which a tensor stays until its last reader has run.
    """
    with OperatorLog(module) as log, torch.no_grad():
        module(example)
    operations = log.operations()
    return {
        "macs": float(sum(each.macs for each in operations)),
        "weight_bytes": float(sum(_constants(operations).values())),
        "activation_bytes": float(plan_arena(lifetimes(operations, log.results))),
    }


def lifetimes(operations: Sequence[Operation], results: Sequence[Operand]) -> list[Lifetime]:
    """Return the lifetimes of the tensors of a program, its input and its results among them.

    Args:
        operations: in the order in which they run.
        results: the tensors that the program returns.
    """
    homes: dict[int, int] = {}  # the tensor in whose memory another one lies
    sizes: dict[int, int] = {}
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for step, operation in enumerate(operations):
        if operation.is_fused:
            source = operation.data[0].number
            homes.update({output.number: homes.get(source, source) for output in operation.outputs})
        for operand in (*operation.data, *operation.outputs):
            home = homes.get(operand.number, operand.number)
            sizes[home] = max(sizes.get(home, 0), operand.numel())
            first.setdefault(home, step)
            last[home] = step
    for operand in results:
        home = homes.get(operand.number, operand.number)
        if home in last:
            last[home] = len(operations)
        elif not operand.is_constant:  # the input, handed on
            sizes[home], first[home], last[home] = operand.numel(), 0, len(operations)
    return [Lifetime(sizes[home], first[home], last[home]) for home in sizes]


def _constants(operations: Sequence[Operation]) -> dict[int, int]:
    """Return the bytes of each constant that operators read, by its number; a product has a bias in any case."""
    sizes: dict[int, int] = {}
    for operation in operations:
        for operand in operation.inputs:
            if operand.is_constant and not operation.is_fused:
                sizes[operand.number] = operand.numel() * (1 if operand.ndim > 1 else BIAS_BYTES)
        if operation.layer is None and _weights(operation):
            biases = [operand for operand in operation.inputs if operand.is_constant and operand.ndim == 1]
            if not biases:
                sizes[-1 - operation.outputs[0].number] = BIAS_BYTES * output_channels(operation)
    return sizes


def output_channels(operation: Operation) -> int:
    """Return the number of output channels of a product with weights."""
    [output, *_] = operation.outputs
    return output.shape[1] if operation.name == "convolution" else output.shape[-1]


def _weights(operation: Operation) -> list[Operand]:
    if not operation.macs:
        return []
    return [operand for operand in operation.inputs if operand.is_constant and math.prod(operand.shape) > 1]
