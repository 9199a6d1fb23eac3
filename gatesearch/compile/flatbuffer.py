"""Reads .tflite models into Python objects that can be changed, and writes them back."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gatesearch._lib.plugins import need

IDENTIFIER = b"TFL3"
DATA_ALIGNMENT_BYTES = 16  # `force_align` of buffers in the schema; the generated Python code does not apply it
SIGNATURE_KEY = b"serving_default"  # the name that the converter gives to a model's signature


def read(model: bytes) -> Any:
    """Return a model as the schema's ``ModelT``, with the data of every buffer inside it."""
    need(".tflite files", "ai_edge_litert")
    from ai_edge_litert import schema_py_generated as schema

    parsed = schema.ModelT.InitFromPackedBuf(model, 0)
    for buffer in parsed.buffers:  # in the file, the data of large buffers lies after the flatbuffer's tables
        if buffer.size:
            buffer.data = np.frombuffer(model, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return parsed


def to_bytes(parsed: Any) -> bytes:
    """Return the bytes of a ``ModelT``; equal vectors and strings, but not constants, are stored once."""
    builder = _sharing_builder()
    builder.Finish(parsed.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def _sharing_builder() -> Any:
    """Return a builder of flatbuffers that writes equal vectors and strings once, and aligns the data of buffers.

    A third of a small int8 model are vectors that occur many times: the zero points of weights and biases are all 0,
    and each channel has one of 8 bytes. The format allows several tables to point at one vector.
    """
    import flatbuffers  # type: ignore[import-untyped]

    class SharingBuilder(flatbuffers.Builder):
        def __init__(self) -> None:
            super().__init__(1024)
            self._places: dict[tuple[object, ...], int] = {}

        def CreateNumpyVector(self, x: npt.NDArray[Any]) -> int:
            if x.dtype == np.uint8:  # the data of a buffer, which the schema aligns
                self.Prep(DATA_ALIGNMENT_BYTES, x.nbytes)
                return int(super().CreateNumpyVector(x))
            key = (x.dtype.str, x.tobytes())
            if key not in self._places:
                self._places[key] = super().CreateNumpyVector(x)
            return self._places[key]

        def CreateString(self, s: Any, encoding: str = "utf-8", errors: str = "strict") -> int:
            key = (s, encoding)
            if key not in self._places:
                self._places[key] = super().CreateString(s, encoding, errors)
            return self._places[key]

    return SharingBuilder()


def is_constant(parsed: Any, tensor: Any) -> bool:
    """Return whether a model holds a tensor's values."""
    data = parsed.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def submodel(parsed: Any, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
    """Return a model with only those operators of a model's main graph that compute ``outputs`` from ``inputs``.

    The model has no tensors or buffers that these operators do not use. Its signature names inputs ``args_0``,
    ``args_1`` ... and outputs ``output_0`` ..., as the converter does.

    Args:
        parsed: a model, as :func:`read` returns it; it is not changed.
        inputs: indices of the tensors that the operators read.
        outputs: indices of the tensors that the operators compute; inputs may be among them.
    """
    from ai_edge_litert import schema_py_generated as schema

    graph = parsed.subgraphs[0]
    operators = _operators_between(graph, inputs, outputs)
    used = [*inputs, *(index for operator in operators for index in (*operator.inputs, *operator.outputs)), *outputs]
    new_index = {index: number for number, index in enumerate(dict.fromkeys(index for index in used if index >= 0))}
    model, subgraph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs = parsed.version, [subgraph]
    model.buffers, subgraph.tensors = [schema.BufferT()], []  # buffer 0 is empty, as the schema demands
    for index in new_index:
        tensor = copy.copy(graph.tensors[index])
        constant = is_constant(parsed, tensor)
        if constant:
            model.buffers.append(parsed.buffers[tensor.buffer])
        tensor.buffer = len(model.buffers) - 1 if constant else 0
        subgraph.tensors.append(tensor)
    codes = list(dict.fromkeys(operator.opcodeIndex for operator in operators))
    model.operatorCodes = [parsed.operatorCodes[code] for code in codes]
    subgraph.operators = [copy.copy(operator) for operator in operators]
    for operator in subgraph.operators:
        operator.opcodeIndex = codes.index(operator.opcodeIndex)
        operator.inputs = [new_index.get(index, -1) for index in operator.inputs]
        operator.outputs = [new_index[index] for index in operator.outputs]
    subgraph.inputs, subgraph.outputs = ([new_index[index] for index in ends] for ends in (inputs, outputs))
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = SIGNATURE_KEY, 0
    signature.inputs, signature.outputs = _named(subgraph.inputs, "args"), _named(subgraph.outputs, "output")
    model.signatureDefs = [signature]
    return to_bytes(model)


def _operators_between(graph: Any, inputs: Sequence[int], outputs: Sequence[int]) -> list[Any]:
    """Return the operators that compute ``outputs`` from ``inputs`` and constants, in the graph's order."""
    needed, operators = set(outputs) - set(inputs), []
    for operator in reversed(graph.operators):
        if needed.intersection(operator.outputs):
            operators.append(operator)
            needed |= {index for index in operator.inputs if index not in inputs}
    return operators[::-1]


def _named(tensors: Sequence[int], name: str) -> list[Any]:
    from ai_edge_litert import schema_py_generated as schema

    entries = [schema.TensorMapT() for _ in tensors]
    for number, (entry, index) in enumerate(zip(entries, tensors, strict=True)):
        entry.name, entry.tensorIndex = f"{name}_{number}".encode(), index
    return entries


def interface(model: bytes) -> list[tuple[list[int], int]]:
    """Return shape and type number of each tensor that enters or leaves a model's main graph."""
    graph = read(model).subgraphs[0]
    return [
        (list(map(int, graph.tensors[index].shape)), int(graph.tensors[index].type))
        for index in (*graph.inputs, *graph.outputs)
    ]


def has_outside_constants(model: bytes) -> bool:
    """Return whether constants lie after a model's tables, where TensorFlow Lite Micro does not read them."""
    need(".tflite files", "ai_edge_litert")
    from ai_edge_litert import schema_py_generated as schema

    parsed = schema.Model.GetRootAs(model, 0)
    return any(parsed.Buffers(i).Size() for i in range(parsed.BuffersLength()))


def compact(model: bytes) -> bytes:
    """Return a model that holds only what engines read, with its constants in its tables.

    The quantiser puts the constants of larger models after the tables. TensorFlow Lite Micro takes such constants for
    empty tensors, gives them memory in its arena, and computes with whatever lies there. Names of tensors, metadata and
    the description take a tenth of a small model. Tensors get short names, and the signature keeps its own: programs
    find inputs and outputs by it.
    """
    from ai_edge_litert import schema_py_generated as schema

    parsed = read(model)
    parsed.description = parsed.metadata = None
    buffers = [schema.BufferT()]  # buffer 0 stands for all tensors that are not constant
    places: dict[int, int] = {}
    for graph in parsed.subgraphs:
        for index, tensor in enumerate(graph.tensors):
            tensor.name = f"t{index}".encode()
            # A constant of no values has an empty vector of data. Without it, LiteRT takes the constant for a result.
            if parsed.buffers[tensor.buffer].data is None:
                tensor.buffer = 0
                continue
            if tensor.buffer not in places:
                places[tensor.buffer] = len(buffers)
                buffers.append(parsed.buffers[tensor.buffer])
            tensor.buffer = places[tensor.buffer]
    parsed.buffers = buffers
    return to_bytes(parsed)


def operator_name(parsed: Any, operator: Any) -> str:
    """Return the name of an operator, such as ``CONV_2D``; where the schema has no name for it, return its number."""
    from ai_edge_litert import schema_py_generated as schema

    code = parsed.operatorCodes[operator.opcodeIndex]
    number = max(code.builtinCode, code.deprecatedBuiltinCode)  # old files set only the deprecated field
    return next((name for name, value in vars(schema.BuiltinOperator).items() if value == number), str(number))


def operator_names(model: bytes) -> tuple[str, ...]:
    """Return the operators of a model's main graph, such as ``CONV_2D``; custom operators by their own names."""
    parsed = read(model)
    custom = [code.customCode for code in parsed.operatorCodes]
    return tuple(
        custom[operator.opcodeIndex].decode() if custom[operator.opcodeIndex] else operator_name(parsed, operator)
        for operator in parsed.subgraphs[0].operators
    )
