"""Builds .tflite programs of one int8 operator, without a converter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from gatesearch.compile import flatbuffer
from gatesearch.kernels.arrays import Array

LAST_DEPRECATED_CODE = 127  # newer operators have their number in a second field alone
FIRST_VERSIONS = ("HARD_SWISH", "ELU", "ABS")  # operators whose first version has int8 already


@dataclass(frozen=True)
class Grid:
    """A tensor's shape, and the scale and the zero point of its integers."""

    shape: tuple[int, ...]
    scale: float
    zero: int


def build_program(
    name: str, options: Any, inputs: Sequence[Grid], output: Grid, constants: Sequence[Array] = ()
) -> bytes:
    """Return a program of one operator; it also returns all inputs but the first, as a state that does not change.

    Args:
        name: name of the operator, such as ``ADD``.
        options: the operator's options as an object of the schema, such as ``AddOptionsT``; None for none.
        inputs: the inputs. The last ones are constants if there are int8 constants.
        output: the output.
        constants: int8 constants for the last inputs, or int32 constants behind all inputs.
    """
    model, graph, operator = schema.ModelT(), schema.SubGraphT(), schema.OperatorT()
    model.version, model.subgraphs, model.buffers = 3, [graph], [schema.BufferT()]
    graph.tensors = [_tensor(f"x{k}", grid) for k, grid in enumerate(inputs)]
    first = len(inputs) - sum(each.dtype == np.int8 for each in constants)
    for k, values in enumerate(constants):
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        model.buffers.append(buffer)
        if values.dtype == np.int32:
            graph.tensors.append(_tensor("axes", Grid(values.shape, 0, 0), schema.TensorType.INT32))
        graph.tensors[first + k].buffer = len(model.buffers) - 1
    operator.inputs = list(range(len(graph.tensors)))
    operator.outputs = [len(graph.tensors)]
    graph.tensors.append(_tensor("y", output))
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, name)
    code.deprecatedBuiltinCode = min(code.builtinCode, LAST_DEPRECATED_CODE)
    code.version = 1 if name in FIRST_VERSIONS else 2
    if options is not None:
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        operator.builtinOptions = options
    model.operatorCodes, graph.operators = [code], [operator]
    graph.inputs = list(range(first))
    graph.outputs = [operator.outputs[0], *graph.inputs[1:]]
    return flatbuffer.to_bytes(model)


def _tensor(name: str, grid: Grid, kind: int = schema.TensorType.INT8) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type = name.encode(), list(grid.shape), kind
    if grid.scale:
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = np.array([grid.scale], np.float32)
        tensor.quantization.zeroPoint = np.array([grid.zero], np.int64)
    return tensor
