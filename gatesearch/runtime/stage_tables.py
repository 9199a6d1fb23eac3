"""Functions of one value in a .tflite program as tables of 256 bytes."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from gatesearch.compile import flatbuffer
from gatesearch.kernels.arrays import Array
from gatesearch.runtime.program import Program
from gatesearch.runtime.stage_memory import Tensor
from gatesearch.runtime.stage_operators import SIGNED, OperatorList, Unsupported

UNARY = ("RELU", "RELU6", "LOGISTIC", "TANH", "HARD_SWISH", "LEAKY_RELU", "ELU", "ABS")


def add_requantise(stage: OperatorList, options: Any, inputs: Sequence[int], output: int) -> None:
    """Add a table that converts values to another scale, as XNNPACK does.

    XNNPACK rounds the ratio of the two scales to 8 fractional bits. The product of a value and the ratio is then an
    integer number of 256ths. XNNPACK rounds this number half up.
    """
    source, tensor_info = stage.tensors[inputs[0]], stage.graph.tensors[output]
    scale, zero = stage.grid(output)
    ratio = source.scale / scale[0]
    if tensor_info.type != stage.schema.TensorType.INT8 or not 2**-8 <= ratio <= 2**7:
        raise Unsupported(f"{tensor_info.name.decode()} has a scale too far from that of its input")
    steps = (np.arange(256) - source.zero) * int(np.rint(np.float32(256) * ratio))
    table = np.clip(((steps + 128) >> 8) + zero, 0, 255).astype(np.uint8)
    places = stage.gather(source.places.reshape(-1, 1), table).reshape(source.places.shape)
    stage.tensors[output] = Tensor(places, scale[0], zero)


def add_unary(stage: OperatorList, options: Any, inputs: Sequence[int], output: int) -> None:
    """Add a table with LiteRT's own results for all 256 bytes."""
    source = stage.tensors[inputs[0]]
    table = compute_table(stage.file, inputs[0], output)
    places = stage.gather(source.places.reshape(-1, 1), table).reshape(source.places.shape)
    scale, zero = stage.grid(output)
    stage.tensors[output] = Tensor(places, scale[0], zero)


def compute_table(parsed: Any, source: int, output: int) -> Array:
    """Return the byte of a program's tensor for each byte of another, uint8 [256], as LiteRT computes it.

    Args:
        parsed: the program, as :func:`gatesearch.compile.flatbuffer.read` returns it; it is not changed.
        source, output: indices of the tensors, with only functions of single values between them.
    """
    parsed, graph = copy.copy(parsed), copy.copy(parsed.subgraphs[0])
    parsed.subgraphs = [graph]
    graph.tensors = [copy.copy(tensor) for tensor in graph.tensors]
    for index in (source, output):
        graph.tensors[index].shape, graph.tensors[index].shapeSignature = [1, 256], None
    program = Program(flatbuffer.submodel(parsed, [source], [output]))
    values = program(np.arange(-SIGNED, SIGNED).astype(np.int8).reshape(1, 256))[0]
    return np.asarray(values.ravel().view(np.uint8) ^ SIGNED)
