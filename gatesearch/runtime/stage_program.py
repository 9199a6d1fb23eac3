"""Lowers an int8 .tflite program to C operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gatesearch.compile import flatbuffer
from gatesearch.runtime import stage_arithmetic, stage_layers, stage_moves, stage_reductions, stage_tables
from gatesearch.runtime.stage_operators import OperatorList, Unsupported

Add = Callable[[OperatorList, Any, Sequence[int], int], None]


def add_operators(stage: OperatorList) -> None:
    """Add all operators of a program; its inputs must already have places in the stage's memory.

    Raises:
        Unsupported: no kernel computes one of the operators.
    """
    for operator in stage.graph.operators:
        name = flatbuffer.operator_name(stage.file, operator)
        if name not in _OPERATORS:
            raise Unsupported(f"no kernel for {name}")
        inputs = [int(i) for i in operator.inputs]
        _OPERATORS[name](stage, operator.builtinOptions, inputs, int(operator.outputs[0]))


_OPERATORS: Mapping[str, Add] = {
    "CONV_2D": stage_layers.add_conv,
    "DEPTHWISE_CONV_2D": stage_layers.add_depthwise,
    "FULLY_CONNECTED": stage_layers.add_matrix,
    "ADD": stage_arithmetic.add_sum,
    "SUB": stage_arithmetic.add_difference,
    "MUL": stage_arithmetic.add_product,
    "MAX_POOL_2D": stage_reductions.add_maximum,
    "REDUCE_MAX": stage_reductions.add_largest,
    "AVERAGE_POOL_2D": stage_reductions.add_average,
    "MEAN": stage_reductions.add_mean,
    "QUANTIZE": stage_tables.add_requantise,
    "TRANSPOSE": stage_moves.transpose,
    "RESHAPE": stage_moves.reshape,
    "SLICE": stage_moves.cut,
    "STRIDED_SLICE": stage_moves.cut_by_steps,
    "PAD": stage_moves.pad,
    "CONCATENATION": stage_moves.concatenate,
    **dict.fromkeys(stage_tables.UNARY, stage_tables.add_unary),
}
