"""Says before a training whether firmware can run a network: compiles the untrained network for the kernels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gatesearch._lib.tool_output import ToolError
from gatesearch.compile import flatbuffer, passes, tflite
from gatesearch.compile.byte_parts import write_parts
from gatesearch.compile.part_quantiser import Range
from gatesearch.compile.partition import cut_for_kernels
from gatesearch.compile.signature import tensor_indices
from gatesearch.compile.stage import StageGraph
from gatesearch.devices.profile import Device
from gatesearch.errors import UserError
from gatesearch.export.fault import find_operation
from gatesearch.kernels import native
from gatesearch.kernels.library import Library
from gatesearch.model import GatedModel
from gatesearch.runtime.byte_parts_program import BytePartsProgram
from gatesearch.runtime.stage_operators import OperatorList, Unsupported
from gatesearch.runtime.stage_program import add_operators


def find_obstacle(model: GatedModel, samples: Tensor, device: Device, input_range: Range | None = None) -> str | None:
    """Return why firmware cannot run a model, in one line that names the layer; None if firmware can.

    Args:
        model: the model in evaluation mode; it need not be trained.
        samples: features [n, *shape] that set the ranges of int8 values.
        device: the device that has the cores of the plan.
        input_range: smallest and largest feature, if the front end rounds features to int8; else None.
    """
    library = native.load()
    if library is None:
        return "packing weights needs a C compiler on this machine"
    for k, stage in enumerate(passes.run(model, samples, device)):
        programs = (
            {f"stage {k}": stage} if stage.exit is None else {f"stage {k}": stage, f"exit of gate {k}": stage.exit}
        )
        for name, program in programs.items():
            reason = _find_in_stage(program, library, input_range if program is stage and k == 0 else None)
            if reason is not None:
                return f"{name}: {reason}"
    return None


def _find_in_stage(stage: StageGraph, library: Library, input_range: Range | None) -> str | None:
    if stage.arithmetic != "int8":
        return _find_in_parts(stage, library, input_range)
    try:
        _compile(tflite.compile(stage, input_range), library)
    except Unsupported as error:
        operation = find_operation(stage.body, stage.samples[:1], _attempt, error)
        return str(error) if operation is None else f"{error}, to which {operation} is converted"
    return None


def _find_in_parts(stage: StageGraph, library: Library, input_range: Range | None) -> str | None:
    parted = stage if stage.parts else cut_for_kernels(stage)
    if not parted.parts:
        return "no kernel replaces its layers in float32"
    files, in_float = write_parts(parted, tflite.convert, input_range, listens=True)
    if in_float:
        return in_float
    program = BytePartsProgram([each.entry for each in files], [each.blob for each in files], library)
    return program.interpreted[0] if program.interpreted else None


def _compile(model: bytes, library: Library) -> None:
    """Compile an int8 program for the kernels.

    Raises:
        Unsupported: no kernel computes one of its operators.
    """
    operators = OperatorList(model, library)
    for index in tensor_indices(flatbuffer.read(model))[0]:
        operators.new(index)
    add_operators(operators)


def _attempt(module: nn.Module, inputs: Sequence[Tensor]) -> None:
    """Compile a single operation for the kernels; an operation that does not convert by itself counts as compiled."""
    library = native.load()
    if len(inputs) != 1 or library is None:
        return
    try:
        with torch.no_grad():
            model = tflite.quantise(tflite.convert(module, inputs), tflite.channel_last(inputs[0].numpy()))
    except (ToolError, UserError):
        return
    _compile(model, library)
