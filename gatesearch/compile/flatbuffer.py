"""A .tflite model as objects that can be changed, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

IDENTIFIER = b"TFL3"


def read(model: bytes) -> Any:
    """Return a model as the schema's ``ModelT``, all of its buffers with their data."""
    from ai_edge_litert import schema_py_generated as schema

    whole = schema.ModelT.InitFromPackedBuf(model, 0)
    for buffer in whole.buffers:  # large ones lie behind the tables
        if buffer.size:
            buffer.data = np.frombuffer(model, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return whole


def written(whole: Any) -> bytes:
    """Return the bytes of such a model."""
    import flatbuffers  # type: ignore[import-untyped]

    builder = flatbuffers.Builder(1024)
    builder.Finish(whole.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def name_of(whole: Any, operator: Any) -> str:
    """Return the kind of an operator, such as ``CONV_2D``; the number of one that the schema does not know."""
    from ai_edge_litert import schema_py_generated as schema

    code = whole.operatorCodes[operator.opcodeIndex]
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    return next((name for name, value in vars(schema.BuiltinOperator).items() if value == number), str(number))
