"""A .tflite model as Python objects that can be changed, and back to bytes."""

from __future__ import annotations

from typing import Any

import numpy as np

from gatesearch._lib.plugins import need

IDENTIFIER = b"TFL3"


def read(model: bytes) -> Any:
    """Return a model as the schema's ``ModelT``, with the data of every buffer in it."""
    need(".tflite files", "ai_edge_litert")
    from ai_edge_litert import schema_py_generated as schema

    parsed = schema.ModelT.InitFromPackedBuf(model, 0)
    for buffer in parsed.buffers:  # the data of large buffers lies behind the tables
        if buffer.size:
            buffer.data = np.frombuffer(model, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return parsed


def to_bytes(parsed: Any) -> bytes:
    """Return the bytes of a ``ModelT``."""
    import flatbuffers  # type: ignore[import-untyped]

    builder = flatbuffers.Builder(1024)
    builder.Finish(parsed.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def operator_name(parsed: Any, operator: Any) -> str:
    """Return the name of an operator, such as ``CONV_2D``: its number where the schema has no name for it."""
    from ai_edge_litert import schema_py_generated as schema

    code = parsed.operatorCodes[operator.opcodeIndex]
    number = max(code.builtinCode, code.deprecatedBuiltinCode)  # old files know the deprecated field alone
    return next((name for name, value in vars(schema.BuiltinOperator).items() if value == number), str(number))


def operator_names(model: bytes) -> tuple[str, ...]:
    """Return the operators of a model's main graph, such as ``CONV_2D``; custom operators by their own names."""
    parsed = read(model)
    custom = [code.customCode for code in parsed.operatorCodes]
    return tuple(
        custom[operator.opcodeIndex].decode() if custom[operator.opcodeIndex] else operator_name(parsed, operator)
        for operator in parsed.subgraphs[0].operators
    )
