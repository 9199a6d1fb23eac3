"""The exporters that come with the package: .tflite, Vela's .tflite for Ethos-U, and ONNX."""

from __future__ import annotations

from gatesearch._lib.plugins import need
from gatesearch.compile import flatbuffer, onnx, vela
from gatesearch.compile.tflite import channel_first, channel_last
from gatesearch.errors import unknown
from gatesearch.export.compiled import CompiledStage
from gatesearch.export.exporters import Array, Exporter
from gatesearch.runtime.program import Program


class TFLite(Exporter):
    """The exporter of .tflite programs, which LiteRT and TensorFlow Lite Micro run."""

    name = "tflite"
    suffix = ".tflite"
    extra = "export"

    def write(self, stage: CompiledStage) -> bytes:
        """Return the stage's program as it is."""
        return stage.tflite

    def run(self, model: bytes, features: Array) -> tuple[Array, ...]:
        """Run one window in LiteRT."""
        program = Program(model)
        outputs = program(program.inputs[0].quantise(channel_last(features)))
        return tuple(channel_first(spec.dequantise(y)) for spec, y in zip(program.outputs, outputs, strict=True))


class Vela(Exporter):
    """The exporter for an Ethos-U: .tflite in which one operator stands for everything that the NPU runs."""

    name = "vela"
    suffix = "_vela.tflite"
    extra = "export"

    def write(self, stage: CompiledStage) -> bytes:
        """Compile the stage's int8 program for the NPU of its core."""
        timing = stage.core.timing
        if timing.model != "vela":
            raise unknown(f"device: core {stage.core.name}", "format", "vela", ["tflite", "onnx"])
        return vela.compile(stage.tflite, timing.accelerator, timing.system_config, timing.memory_mode).model

    def inspect(self, model: bytes, source: bytes) -> str:
        """Return how the file's inputs and outputs differ from those of the .tflite that Vela compiled, or ``""``."""
        tensors, expected = flatbuffer.interface(model), flatbuffer.interface(source)
        if tensors != expected:
            return f"inputs and outputs of the file are {tensors}; those of its .tflite are {expected}"
        return "" if flatbuffer.operator_names(model) else "the file has no operator"


class ONNX(Exporter):
    """The exporter of ONNX models: a stage in float32, channels first."""

    name = "onnx"
    suffix = ".onnx"
    extra = "export"

    def write(self, stage: CompiledStage) -> bytes:
        """Convert the stage's graph."""
        return onnx.compile(stage.graph)

    def run(self, model: bytes, features: Array) -> tuple[Array, ...]:
        """Run one window in ONNX Runtime."""
        need("ONNX Runtime", "onnxruntime")
        import onnxruntime

        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        return tuple(session.run(None, {session.get_inputs()[0].name: features}))
