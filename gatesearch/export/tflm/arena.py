"""The working memory of a model in TensorFlow Lite Micro (TFLM), its *arena*."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gatesearch._lib.plugins import need
from gatesearch._lib.tool_output import ToolError, quiet
from gatesearch.compile import flatbuffer
from gatesearch.devices.profile import Provenance
from gatesearch.runtime.program import ARENA_MARGIN_BYTES, Program

ALIGNMENT_BYTES = 16  # TFLM begins each tensor at a multiple
# An arena that begins or ends elsewhere than on this host may lose this many bytes at each end.
MARGIN_BYTES = 2 * ALIGNMENT_BYTES
# For a model of an NPU: TFLM's own records on a target. No interpreter of this host runs such a model.
NPU_RECORDS_BYTES = 4096
TYPE_BYTES = {"FLOAT32": 4, "INT32": 4, "UINT8": 1, "INT64": 8, "INT16": 2, "INT8": 1, "BOOL": 1}


@dataclass(frozen=True, slots=True)
class Arena:
    """The arena of a model.

    Args:
        bytes: the size to reserve.
        needed: the size without a margin.
        provenance: ``"measured"``, or ``"modelled"`` for an NPU.
    """

    bytes: int
    needed: int
    provenance: Provenance


def measure_arena(model: bytes) -> Arena:
    """Return the arena that TFLM needs for a model on this host, and that size with a margin.

    The size is the one that TFLM reports, or the next larger one with which it loads the model: while it plans the
    tensors, it may need more than it reports afterwards. Its records hold pointers, which are half as wide on a
    microcontroller, so the figure is an upper estimate for TFLM's reference kernels. Other kernels, such as CMSIS-NN's,
    may need scratch memory beyond it.

    Raises:
        ToolError: TFLM refuses the model.
    """
    reported = Program(model, "tflm").arena_bytes
    assert reported is not None  # engine tflm reports it
    low, high = _align(reported) - ALIGNMENT_BYTES, _align(reported) + ARENA_MARGIN_BYTES
    while high - low > ALIGNMENT_BYTES:  # a search for the border between arenas that are too small and the others
        middle = _align((low + high) // 2)
        low, high = (low, middle) if _loads(model, middle) else (middle, high)
    return Arena(high + MARGIN_BYTES, high, "measured")


def model_arena(model: bytes) -> Arena:
    """Return an estimate of the arena of a model that Vela compiled for an NPU: its tensors without the constants."""
    parsed = flatbuffer.read(model)
    tensors = [each for each in parsed.subgraphs[0].tensors if not flatbuffer.is_constant(parsed, each)]
    needed = sum(_align(tensor_bytes(each)) for each in tensors) + NPU_RECORDS_BYTES
    return Arena(needed + MARGIN_BYTES, needed, "modelled")


def tensor_bytes(tensor: object) -> int:
    """Return the bytes of a tensor of a parsed model."""
    from ai_edge_litert import schema_py_generated as schema

    names = {value: name for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
    return int(np.prod(tensor.shape)) * TYPE_BYTES[names[tensor.type]]  # type: ignore[attr-defined]


def _loads(model: bytes, arena_bytes: int) -> bool:
    need("TensorFlow Lite Micro", "tflite_micro")
    from tflite_micro.python.tflite_micro import runtime

    try:
        with quiet("loading a model into TFLM"):
            runtime.Interpreter.from_bytes(model, arena_size=arena_bytes)
    except ToolError:
        return False
    return True


def _align(size: int) -> int:
    return -(-size // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
