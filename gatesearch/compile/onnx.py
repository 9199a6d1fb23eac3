"""The back end for ONNX: writes a stage, after all passes, as a float32 model."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from gatesearch._lib.plugins import need
from gatesearch._lib.tool_output import quiet
from gatesearch.compile.stage import StageGraph


def compile(stage: StageGraph) -> bytes:
    """Return a stage as an ONNX model of one sample; the model holds no stack traces and no paths of the machine.

    Raises:
        ToolError: the exporter failed.
    """
    return convert(stage.program, (stage.samples[:1],))


def convert(module: nn.Module, examples: Sequence[Tensor]) -> bytes:
    """Return a module as an ONNX model, given an example of each input; for a network by hops, pass its ``step``.

    Raises:
        ToolError: the exporter failed.
    """
    need("export.formats: onnx", "onnx", "onnxscript")
    import onnx

    with quiet("export to ONNX"), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stage.onnx"
        torch.onnx.export(module, tuple(examples), str(path), dynamo=True, external_data=False, verbose=False)
        model = onnx.load(str(path))
    graph = model.graph
    for message in (model, graph, *graph.node, *graph.input, *graph.value_info):
        message.ClearField("metadata_props")  # stack traces, with the paths of the machine that exported
    return bytes(model.SerializeToString(deterministic=True))
