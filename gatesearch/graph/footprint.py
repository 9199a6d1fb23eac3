"""The cost of a module as an int8 program: multiply-accumulates, other work, bytes of flash and SRAM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gatesearch.graph.lifetimes import Lifetime, plan_arena
from gatesearch.graph.operator_log import BIAS_BYTES, Operation, OperatorLog
from gatesearch.graph.products import biased_products, output_channels, weights_of
from gatesearch.graph.program_operators import program_operators
from gatesearch.graph.program_tables import ARENA_BYTES, FILE_BYTES, program_tables
from gatesearch.graph.tensor_lifetimes import lifetimes


class Footprint(NamedTuple):
    """The cost of a module as an int8 program for one sample, estimated without a conversion.

    Args:
        macs: number of multiply-accumulates.
        values: number of values of other work, as :mod:`gatesearch.graph.element_work` counts them.
        weight_bytes: size of all constants that operators read, buffers included: int8 weights, int32 biases, and
            float32 where an operator stays in float.
        activation_bytes: size of the arena that holds all activations; :mod:`gatesearch.graph.lifetimes` plans it.
        file_overhead_bytes: size of the .tflite file without its constants and without
            :data:`~gatesearch.graph.program_tables.FILE_BYTES`.
        arena_overhead_bytes: size of TensorFlow Lite Micro's arena without activations and
            :data:`~gatesearch.graph.program_tables.ARENA_BYTES`.
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


def program_footprint(module: nn.Module, example: Tensor, in_float: bool = False) -> Footprint:
    """Return the footprint of a module as a program for one sample [1, ...].

    Args:
        module: the module.
        example: one sample of its input.
        in_float: whether the whole program stays in float32. Then bytes of weights and activations are numbers of
            values, to multiply by four.
    """
    with OperatorLog(module) as log, torch.no_grad():
        module(example)
    records = log.operations()
    operations, results = program_operators(records, log.results, in_float)
    tensors = lifetimes(operations, results)
    tables = program_tables(operations)
    return Footprint(
        macs=float(sum(each.macs for each in records)),
        values=float(sum(each.values for each in records)),
        weight_bytes=float(sum(_constants(operations).values())),
        activation_bytes=float(plan_arena(tensors)),
        file_overhead_bytes=float(tables.file_bytes),
        arena_overhead_bytes=float(tables.arena_bytes),
        lifetimes=tuple(tensors),
    )


def _constants(operations: Sequence[Operation]) -> dict[tuple[int, int, int], int]:
    """Return the bytes of each constant that operators read, by its number, offset and width.

    A convolution has a bias, also where the module has none.
    """
    sizes: dict[tuple[int, int, int], int] = {}
    biased = biased_products(operations)
    for operation in operations:
        for operand in operation.inputs:
            if operand.is_constant and not operation.is_fused:
                # A bias is int32. A recurrent layer runs in float, where weights and biases have the same size.
                is_bias = operand.ndim == 1 and operation.layer is None
                width = BIAS_BYTES if is_bias else operand.width_bytes
                key = operand.number, operand.offset, width
                sizes[key] = max(sizes.get(key, 0), width * operand.numel())
        if operation.layer is None and weights_of(operation):
            biases = [operand for operand in operation.inputs if operand.is_constant and operand.ndim == 1]
            if not biases and operation.outputs[0].number in biased:
                sizes[-1 - operation.outputs[0].number, 0, BIAS_BYTES] = BIAS_BYTES * output_channels(operation)
    return sizes
