"""One exporter a format: from a lowered stage to the file that a core runs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple

from gatesearch._lib.tool_output import quiet
from gatesearch.compile import vela
from gatesearch.compile.lower import LoweredStage
from gatesearch.compile.tflite import channel_last, convert, quantise
from gatesearch.devices.profile import Core
from gatesearch.errors import unknown

GROUP = "gatesearch.exporters"


class Exporter(NamedTuple):
    """``write(stage, int8, core)`` returns the file's bytes; ``suffix`` ends its name."""

    suffix: str
    write: Callable[[LoweredStage, bytes, Core], bytes]


def compiled(stage: LoweredStage, core: Core, input_range: tuple[float, float] | None = None) -> bytes:
    """Return a stage as a .tflite model with int8 weights, activations, input and outputs, or in float.

    One with gated layers stays in float: what can be skipped it computes in full and masks, as a reference of what a
    core with kernels for those gates skips. So does one with recurrent layers, and one that int8 serves badly on a core
    that runs float programs.

    Args:
        stage: lowered.
        core: where it is to run.
        input_range: of what the stage is given, where that is on an int8 grid already.
    """
    model = convert(stage.program, stage.samples[:1])
    in_float = stage.arithmetic(core) == "float32"
    return model if in_float else quantise(model, channel_last(stage.samples.numpy()), input_range)


def _tflite(_: LoweredStage, int8: bytes, __: Core) -> bytes:
    return int8


def _vela(_: LoweredStage, int8: bytes, core: Core) -> bytes:
    timing = core.timing
    if timing.model != "vela":
        raise unknown(f"device: core {core.name}", "format", "vela", ["tflite", "onnx"])
    return vela.compile(int8, timing.accelerator, timing.system_config, timing.memory_mode).model


def _onnx(stage: LoweredStage, _: bytes, __: Core) -> bytes:
    import onnx
    import torch

    with quiet("export to ONNX"), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stage.onnx"
        torch.onnx.export(
            stage.program, (stage.samples[:1],), str(path), dynamo=True, external_data=False, verbose=False
        )
        model = onnx.load(str(path))
    for part in (model, model.graph, *model.graph.node, *model.graph.input, *model.graph.value_info):
        part.ClearField("metadata_props")  # stack traces, with the paths of the machine that exported
    return bytes(model.SerializeToString(deterministic=True))


SHIPPED: Mapping[str, Exporter] = {
    "tflite": Exporter(".tflite", _tflite),
    "vela": Exporter("_vela.tflite", _vela),
    "onnx": Exporter(".onnx", _onnx),
}


def exporter(name: str) -> Exporter:
    """Return the exporter of a format, shipped or from the entry-point group ``gatesearch.exporters``.

    Raises:
        UserError: there is none.
    """
    if name in SHIPPED:
        return SHIPPED[name]
    plugged = {point.name: point for point in entry_points(group=GROUP)}
    if name not in plugged:
        raise unknown("export.formats", "format", name, [*SHIPPED, *plugged])
    found: Exporter = plugged[name].load()
    return found
