"""One exporter a format: from a lowered stage to the file that a core runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import NamedTuple

from gatesearch.compile import onnx, vela
from gatesearch.compile.stage import StageGraph
from gatesearch.devices.profile import Core
from gatesearch.errors import unknown

GROUP = "gatesearch.exporters"


class Exporter(NamedTuple):
    """``write(stage, int8, core)`` returns the file's bytes; ``suffix`` ends its name."""

    suffix: str
    write: Callable[[StageGraph, bytes, Core], bytes]


def _tflite(_: StageGraph, int8: bytes, __: Core) -> bytes:
    return int8


def _vela(_: StageGraph, int8: bytes, core: Core) -> bytes:
    timing = core.timing
    if timing.model != "vela":
        raise unknown(f"device: core {core.name}", "format", "vela", ["tflite", "onnx"])
    return vela.compile(int8, timing.accelerator, timing.system_config, timing.memory_mode).model


def _onnx(stage: StageGraph, _: bytes, __: Core) -> bytes:
    return onnx.compile(stage)


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
