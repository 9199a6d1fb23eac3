"""A .tflite program taken apart: each operator as a program of its own, so that equal ones are timed once.

XNNPACK runs the operators of a program one after the other and fuses nothing but what the converter fused already, so
that a program takes as long as its operators do (tests/hardware/test_operators.py holds the two together).
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Hashable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np

IDENTIFIER = b"TFL3"
Name = TypeVar("Name", bound=Hashable)
MOST = 24  # operators of a program that is taken apart


class Operator(NamedTuple):
    """One operator as a program.

    Args:
        key: equal for operators of one kind, with the same options and shapes, whatever their weights.
        name: of its kind, such as ``CONV_2D``.
        model: the program.
    """

    key: str
    name: str
    model: bytes


def taken_apart(model: bytes) -> Iterator[Operator]:
    """Yield the operators of a model's main graph, in order."""
    from ai_edge_litert import schema_py_generated as schema

    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    whole = schema.ModelT.InitFromPackedBuf(model, 0)
    for buffer in whole.buffers:  # large ones lie behind the tables
        if buffer.size:
            buffer.data = np.frombuffer(model, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    graph = whole.subgraphs[0]
    for operator in graph.operators:
        code = whole.operatorCodes[operator.opcodeIndex]
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        tensors = [graph.tensors[i] for i in (*operator.inputs, *operator.outputs) if i >= 0]
        described = [
            (
                names.get(number, number),
                {k: _plain(v) for k, v in vars(operator.builtinOptions or object).items() if not k.startswith("_")}
                if operator.builtinOptions is not None
                else {},
                [(list(t.shape), t.type, _is_constant(whole, t), _whole_numbers(whole, t)) for t in tensors],
            )
        ]
        key = hashlib.sha256(repr(described).encode()).hexdigest()[:16]
        yield Operator(key, str(names.get(number, number)), _alone(schema, whole, graph, operator, code))


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def _is_constant(whole: Any, tensor: Any) -> bool:
    data = whole.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def _whole_numbers(whole: Any, tensor: Any) -> bytes:
    """Return a constant that is a shape or a list of axes: it decides what the operator does."""
    data = whole.buffers[tensor.buffer].data
    return bytes(data) if _is_constant(whole, tensor) and len(data) <= 64 and tensor.type in (2, 4) else b""


def _alone(schema: Any, whole: Any, graph: Any, operator: Any, code: Any) -> bytes:
    import flatbuffers  # type: ignore[import-untyped]

    made, own, only = schema.ModelT(), schema.SubGraphT(), copy.copy(operator)
    made.version, made.operatorCodes, made.subgraphs = whole.version, [code], [own]
    made.buffers, own.tensors = [schema.BufferT()], []
    places: dict[int, int] = {}
    for index in (*operator.inputs, *operator.outputs):
        if index >= 0 and index not in places:
            places[index] = len(own.tensors)
            tensor = copy.copy(graph.tensors[index])
            if _is_constant(whole, tensor):
                made.buffers.append(whole.buffers[tensor.buffer])
                tensor.buffer = len(made.buffers) - 1
            else:
                tensor.buffer = 0
            own.tensors.append(tensor)
    only.opcodeIndex = 0
    only.inputs = [places.get(index, -1) for index in operator.inputs]
    only.outputs = [places[index] for index in operator.outputs]
    own.operators = [only]
    given = dict.fromkeys(i for i in operator.inputs if i >= 0 and not _is_constant(whole, graph.tensors[i]))
    own.inputs = [places[index] for index in given]
    own.outputs = list(only.outputs)
    builder = flatbuffers.Builder(1024)
    builder.Finish(made.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def pieces(models: Mapping[Name, bytes]) -> tuple[dict[Name, list[str]], dict[str, bytes]]:
    """Return, for each model, what its time is the sum of, and the program of each of these.

    A model of many small operators, such as the unrolled steps of a recurrent layer, is one piece: what each of them
    takes by itself would be mostly the call.
    """
    sums: dict[Name, list[str]] = {}
    programs: dict[str, bytes] = {}
    for name, model in models.items():
        own = list(taken_apart(model))
        if len(own) > MOST:
            whole = hashlib.sha256(repr(sorted(o.key for o in own)).encode()).hexdigest()[:16]
            own = [Operator(whole, "whole", model)]
        programs.update({operator.key: operator.model for operator in own})
        sums[name] = [operator.key for operator in own]
    return sums, programs
