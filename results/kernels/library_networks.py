"""Whole networks in LiteRT, ONNX Runtime and OpenVINO, in float32 and in int8, without gatesearch's rewrites.

LiteRT gets the network as its own converter writes it, with AVERAGE_POOL_2D. ONNX Runtime and OpenVINO get the export
of PyTorch, in int8 with QuantizeLinear and DequantizeLinear around each operator, from ONNX Runtime's static quantiser.
OpenVINO is optional (``pip install openvino``); without it, its calls are missing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from gatesearch._lib import console
from gatesearch._lib.tool_output import quiet
from gatesearch.compile import onnx, tflite
from gatesearch.runtime.program import Program

Calls = dict[str, Callable[[], object]]
Array = np.ndarray[Any, Any]
OPENVINO = "OpenVINO"


def float_calls(network: nn.Module, x: Tensor) -> Calls:
    """Return a call of a network in float32 in each library, on the first of the samples x [n, *shape]."""
    lite = Program(tflite.convert(network, x[:1], rewrites=False))
    model = onnx.convert(network, (x[:1],))
    lite(tflite.channel_last(x[:1].numpy()))
    return {"LiteRT": lite.invoke, **onnx_calls(model, x[:1].numpy())}


def int8_calls(network: nn.Module, x: Tensor) -> Calls:
    """Return a call of a network in int8 in each library; the samples x [n, *shape] set the ranges."""
    images = tflite.channel_last(x.numpy())
    lite = Program(tflite.quantise(tflite.convert(network, x[:1], rewrites=False), images))
    lite(lite.inputs[0].quantise(images[:1]))
    model = quantise_onnx(onnx.convert(network, (x[:1],)), x)
    return {"LiteRT": lite.invoke, **onnx_calls(model, x[:1].numpy())}


def quantise_onnx(model: bytes, x: Tensor) -> bytes:
    """Return a float ONNX model of one input in int8, with QuantizeLinear and DequantizeLinear; x sets the ranges."""
    from onnxruntime import quantization

    class Samples(quantization.CalibrationDataReader):
        def __init__(self, name: str) -> None:
            self._feeds: Iterator[dict[str, Any]] = iter([{name: sample[None].numpy()} for sample in x])

        def get_next(self) -> dict[str, Any] | None:
            return next(self._feeds, None)

    with quiet("quantisation of ONNX"), tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(model)
        session = _session(model)
        quantization.quantize_static(
            str(source),
            str(target),
            Samples(session.get_inputs()[0].name),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        return target.read_bytes()


def onnx_calls(model: bytes, image: Array) -> Calls:
    """Return calls of an ONNX model in ONNX Runtime and, where it is installed, in OpenVINO."""
    return {"ONNX Runtime": onnx_runtime(model, image), **openvino_calls(model, image)}


def openvino_calls(model: bytes, image: Array) -> Calls:
    """Return a call of an ONNX model in OpenVINO on one thread; nothing where it is not installed."""
    if find_spec("openvino") is None:
        console.warn("bench kernels: OpenVINO is not installed, so it is not compared: pip install openvino")
        return {}
    openvino = import_module("openvino")
    core = openvino.Core()
    settings = {
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",  # by default, OpenVINO computes float32 models in bfloat16 where it can
    }
    compiled = core.compile_model(core.read_model(model, b""), "CPU", settings)
    request = compiled.create_infer_request()
    request.set_input_tensor(openvino.Tensor(image, shared_memory=True))
    request.infer()
    return {OPENVINO: request.infer}


def onnx_runtime(model: bytes, image: Array) -> Callable[[], object]:
    """Return a call of an ONNX model of one input and one output in ONNX Runtime on one thread."""
    import onnxruntime

    session = _session(model)
    # Input and output are bound once, so that copies between Python and the session are not timed.
    binding = session.io_binding()
    binding.bind_ortvalue_input(session.get_inputs()[0].name, onnxruntime.OrtValue.ortvalue_from_numpy(image))
    binding.bind_output(session.get_outputs()[0].name)
    return lambda: session.run_with_iobinding(binding)


def _session(model: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
