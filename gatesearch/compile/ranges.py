"""Repairs of the quantiser's output: activation ranges and biases that an int8 program cannot represent.

A product such as a convolution sums x w over int8 values whose steps are s_x and s_w[c], c being the output channel.
Its sum counts steps of s_x s_w[c], as does its bias, in int32; the output has steps of s_y. The engine multiplies the
sum by M[c] = s_x s_w[c] / s_y, which it holds as a fixed-point number below 1 with a right shift (Jacob et al. 2018,
arXiv 1712.05877, equations 5 and 6). Two things can go wrong:

- An output range that is too small makes M larger than any engine knows, and LiteRT ends the whole process over it.
  That happens where nothing was observed: for a layer whose ReLU never opens, or a gate's logit whose threshold lies
  above every sample, the quantiser takes steps of 4e-12. Hence :func:`open_up` and :func:`widen`.
- A bias b is the integer b / (s_x s_w[c]). s_w[c] is the channel's largest weight over 127, so that for a channel
  almost without weights the integer does not fit 32 bits, and comes out with the wrong sign. Hence :func:`fit_biases`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gatesearch.compile import flatbuffer

Floats = npt.NDArray[np.float64]

RANGE_OF_ZEROS = 6.0  # end of the range of what was never above zero; that of a ReLU6, such as a gate's logit
INT8_STEPS = 255
WIDENING = 1.001  # so that rounding leaves the steps wide enough
LARGEST_BIAS = 2.0**30  # in steps: sums are added to it
PRODUCTS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def open_up(observed: Mapping[str, dict[str, Any]]) -> None:
    """Give activations that were zero all along a range; in place.

    Args:
        observed: ``min`` and ``max`` by tensor.

    >>> ranges = {"logit": {"min": np.zeros((1, 1)), "max": np.zeros((1, 1))}}
    >>> open_up(ranges)
    >>> ranges["logit"]["max"].tolist()
    [[6.0]]
    """
    for ends in observed.values():
        if not np.any(ends["min"]) and not np.any(ends["max"]):
            ends["max"] = np.full_like(ends["max"], RANGE_OF_ZEROS)


def widen(observed: Mapping[str, dict[str, Any]], model: bytes) -> bool:
    """Widen, in place, the ranges of products whose output has finer steps than the sum: where M > 1.

    Args:
        observed: ``min`` and ``max`` by tensor.
        model: quantised with them.

    Returns:
        Whether any range was widened. A wider range makes the sums behind it coarser, so that the model has to be
        quantised and looked at again.
    """
    widened = False
    for product in _products(flatbuffer.read(model)):
        step, ends = float(product.sum_scale.max()), observed.get(product.output)
        if ends is not None and float(product.output_scale.min()) < step:
            ends["max"] = np.maximum(ends["max"], ends["min"] + WIDENING * INT8_STEPS * step)
            widened = True
    return widened


def fit_biases(model: bytes, float_model: bytes) -> bytes:
    """Return an int8 model in which channels whose bias did not fit have weights of larger steps.

    With s_w[c] = |b| / (s_x 2^30) the bias is 2^30 steps of the sum. The channel's weights, small as they are beside
    such a bias, are rounded to the larger steps.

    Args:
        model: the int8 model.
        float_model: what it was made of.
    """
    parsed, original = flatbuffer.read(model), flatbuffer.read(float_model)
    float_buffers = {tensor.name: original.buffers[tensor.buffer].data for tensor in original.subgraphs[0].tensors}
    changed = False
    for product in _products(parsed):
        if product.bias is None:
            continue
        name = re.sub(rb"_duplicated_\d+$", b"", _tensor(parsed, product.bias).name)  # a copy for one of its readers
        if np.abs(_constant(parsed, product.bias, np.int32).astype(float)).max() > LARGEST_BIAS:
            _coarsen(parsed, product, np.frombuffer(bytes(float_buffers[name]), np.float32).astype(float))
            changed = True
    return flatbuffer.to_bytes(parsed) if changed else model


class _Product(NamedTuple):
    """An operator that sums products, in int8: its tensors, and scales of the input, the weights and the output."""

    output: str  # name
    weights: int  # index of the tensor, as that of the bias
    bias: int | None
    input_scale: Floats
    weight_scale: Floats
    output_scale: Floats

    @property
    def sum_scale(self) -> Floats:
        """Steps of the sum, for each output channel or for all."""
        return self.input_scale * self.weight_scale


def _coarsen(parsed: Any, product: _Product, bias: Floats) -> None:
    """Give weights, by channel or all alike, steps that are large enough for the bias; in place."""
    assert product.bias is not None
    least = np.abs(bias) / product.input_scale / LARGEST_BIAS
    by_channel = product.weight_scale.size > 1
    scale = np.maximum(product.weight_scale, least if by_channel else least.max())
    weights, bias_tensor = _tensor(parsed, product.weights), _tensor(parsed, product.bias)
    shape = np.ones(len(weights.shape), int)
    shape[weights.quantization.quantizedDimension] = -1
    ratio = (product.weight_scale / scale).reshape(shape if by_channel else -1)
    coarser = np.rint(_constant(parsed, product.weights, np.int8) * ratio).astype(np.int8)
    parsed.buffers[weights.buffer].data = coarser.reshape(-1).view(np.uint8)
    weights.quantization.scale = scale.astype(np.float32)
    steps = product.input_scale * scale
    bias_tensor.quantization.scale = steps.astype(np.float32)
    parsed.buffers[bias_tensor.buffer].data = np.rint(bias / steps).astype(np.int32).view(np.uint8)


def _tensor(parsed: Any, index: int) -> Any:
    return parsed.subgraphs[0].tensors[index]


def _constant(parsed: Any, index: int, dtype: type[np.generic]) -> npt.NDArray[Any]:
    tensor = _tensor(parsed, index)
    return np.frombuffer(bytes(parsed.buffers[tensor.buffer].data), dtype).reshape(tensor.shape)


def _products(parsed: Any) -> Iterator[_Product]:
    for operator in parsed.subgraphs[0].operators:
        if flatbuffer.operator_name(parsed, operator) not in PRODUCTS:
            continue
        output = _tensor(parsed, operator.outputs[0])
        tensors = [*(_tensor(parsed, index) for index in operator.inputs[:2]), output]
        scales: list[Any] = [getattr(tensor.quantization, "scale", None) for tensor in tensors]
        if any(scale is None or not len(scale) for scale in scales):
            continue  # in float
        input_scale, weight_scale, output_scale = (scale.astype(float) for scale in scales)
        has_bias = len(operator.inputs) > 2 and operator.inputs[2] >= 0
        yield _Product(
            output=output.name.decode(),
            weights=int(operator.inputs[1]),
            bias=int(operator.inputs[2]) if has_bias else None,
            input_scale=input_scale,
            weight_scale=weight_scale,
            output_scale=output_scale,
        )
