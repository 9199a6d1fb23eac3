"""Dense layers of oneDNN (called from torch), ONNX Runtime and LiteRT, for comparison with gated kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils import mkldnn

from gatesearch.compile import tflite
from gatesearch.kernels import Geometry
from gatesearch.runtime.program import Program
from results.kernels.library_networks import Array, Calls, onnx_calls, onnx_runtime, openvino_calls


def module(geometry: Geometry, weight: Array, bias: Array) -> nn.Conv2d:
    """Return the layer as a PyTorch module."""
    g = geometry
    layer = nn.Conv2d(g.c_in, g.c_out, g.kernel, g.stride, g.padding, g.dilation)
    layer.weight.data, layer.bias.data = torch.from_numpy(weight), torch.from_numpy(bias)  # type: ignore[union-attr]
    return layer.eval().requires_grad_(False)


def dense_fp32(geometry: Geometry, weight: Array, bias: Array, x: Array) -> Calls:
    """Return calls of the layer in float32 on x [h, w, c_in], for each library and each of its layouts."""
    layer = module(geometry, weight, bias)
    array = tflite.channel_first(x[None])
    image = torch.from_numpy(array)
    last, image_last = module(geometry, weight, bias), image.to(memory_format=torch.channels_last)
    last.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    blocked, image_blocked = mkldnn.to_mkldnn(layer), image.to_mkldnn()
    lite = Program(tflite.convert(layer, image))
    lite(x[None])
    return {
        "torch": lambda: layer(image),
        "torch, channels last": lambda: last(image_last),
        "torch, oneDNN layout": lambda: blocked(image_blocked),
        "LiteRT": lite.invoke,
        **onnx_calls(float_model(geometry, weight, bias), array),
    }


def dense_int8(geometry: Geometry, weight: Array, bias: Array, x: Array) -> Calls:
    """Return calls of the layer with int8 weights on x [h, w, c_in], uint8, for each library.

    The scales of the quantisation are arbitrary, because only the times matter.
    """
    layer, real = module(geometry, weight.astype(np.float32) / 128, bias / 128), x.astype(np.float32) / 255
    lite = Program(
        tflite.quantise(tflite.convert(layer, torch.from_numpy(tflite.channel_first(real[None]))), real[None])
    )
    lite((x[None].astype(np.int16) - 128).astype(np.int8))
    image = tflite.channel_first(x[None])
    return {
        "ONNX Runtime": onnx_runtime(integer_model(geometry, weight), image),
        "LiteRT": lite.invoke,
        **openvino_calls(quantised_model(geometry, weight, bias), image),
    }


def products_int8(geometry: Geometry, weight: Array) -> Calls:
    """Return calls of the layer's matrix product with ``torch._int_mm``; the patches are already laid out."""
    rows = geometry.output[0] * geometry.output[1]
    rng = np.random.default_rng(0)
    patches = torch.from_numpy(rng.integers(-127, 128, (rows, geometry.inner)).astype(np.int8))
    filters = torch.from_numpy(weight.reshape(geometry.c_out, -1))
    by_row = filters.T.contiguous()
    return {
        "torch._int_mm": lambda: torch._int_mm(patches, by_row),
        "torch._int_mm, transposed": lambda: torch._int_mm(patches, filters.T),
    }


def float_model(geometry: Geometry, weight: Array, bias: Array) -> bytes:
    """Return a float32 convolution as an ONNX model, x [1, c_in, h, w] to y."""
    from onnx import TensorProto, helper, numpy_helper

    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], **_attributes(geometry))
    constants = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(bias, "b")]
    return _model([node], constants, TensorProto.FLOAT, geometry)


def quantised_model(geometry: Geometry, weight: Array, bias: Array) -> bytes:
    """Return a convolution with int8 weights between uint8 tensors as an ONNX model that quantises and dequantises."""
    from onnx import helper

    nodes = [
        helper.make_node("DequantizeLinear", ["x", "xs", "xz"], ["real"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["weight"], axis=0),
        helper.make_node("Conv", ["real", "weight", "b"], ["sum"], **_attributes(geometry)),
        helper.make_node("QuantizeLinear", ["sum", "ys", "yz"], ["y"]),
    ]
    return _byte_model(nodes, geometry, weight, bias.astype(np.float32))


def integer_model(geometry: Geometry, weight: Array) -> bytes:
    """Return a convolution with int8 weights between uint8 tensors as an ONNX model of one operator, QLinearConv."""
    from onnx import helper

    inputs = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"]
    node = helper.make_node("QLinearConv", inputs, ["y"], **_attributes(geometry))
    return _byte_model([node], geometry, weight, np.zeros(geometry.c_out, np.int32))


def lstm(layer: nn.LSTMCell, x: Array, h: Array, c: Array) -> Callable[[], object]:
    """Return a call of one step of torch's dense LSTM; input x and states h and c are [size]."""
    image, state = torch.from_numpy(x)[None], (torch.from_numpy(h)[None], torch.from_numpy(c)[None])
    return lambda: layer(image, state)


def sparse_product(matrices: list[Array], vectors: list[Array]) -> Callable[[], object]:
    """Return a call of the matrix products of a pruned step, with torch's CSR (compressed sparse row) matrices.

    A whole step takes longer, because it also adds the products and applies the activations of the cell.
    """
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a warning of torch says that its CSR layout is in beta state
        sparse = [torch.from_numpy(matrix).to_sparse_csr() for matrix in matrices]
    dense = [torch.from_numpy(vector) for vector in vectors]
    return lambda: [torch.mv(matrix, vector) for matrix, vector in zip(sparse, dense, strict=True)]


def _attributes(g: Geometry) -> dict[str, Any]:
    return {
        "kernel_shape": g.kernel,
        "strides": g.stride,
        "dilations": g.dilation,
        "pads": (*g.padding, *g.padding),
    }


def _byte_model(nodes: list[Any], geometry: Geometry, weight: Array, bias: Array) -> bytes:
    """Return an ONNX model between uint8 tensors, with scales and zero points of input (x), weights and output (y)."""
    from onnx import TensorProto, numpy_helper

    arrays = {
        "w": weight,
        "b": bias,
        "xs": np.float32(1 / 255),
        "xz": np.uint8(0),
        "ws": np.full(geometry.c_out, 1 / 128, np.float32),
        "wz": np.zeros(geometry.c_out, np.int8),
        "ys": np.float32(0.05),
        "yz": np.uint8(128),
    }
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in arrays.items()]
    return _model(nodes, constants, TensorProto.UINT8, geometry)


def _model(nodes: list[Any], constants: list[Any], kind: int, g: Geometry) -> bytes:
    from onnx import helper

    shapes = {"x": (1, g.c_in, *g.image), "y": (1, g.c_out, *g.output)}
    x_info, y_info = (helper.make_tensor_value_info(name, kind, shape) for name, shape in shapes.items())
    graph = helper.make_graph(nodes, "layer", [x_info], [y_info], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())
