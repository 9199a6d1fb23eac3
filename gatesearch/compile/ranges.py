"""Repairs activation ranges and biases that the quantiser chooses but an int8 program cannot represent.

A product operator, such as a convolution, sums x w over int8 inputs x and weights w. A step of the inputs is s_x, and a
step of the weights of output channel c is s_w[c]. The sum and the bias are int32 numbers in steps of s_x s_w[c]; the
output has steps of s_y. The engine multiplies the sum by M[c] = s_x s_w[c] / s_y, which it stores as a fixed-point
number below 1 with a right shift (Jacob et al. 2018, arXiv 1712.05877, equations 5 and 6). Two things can go wrong:

- If the output's range is too small, M is larger than any engine can store, and LiteRT ends the whole process. This
  happens where all observed values are zero: behind a ReLU whose input is never positive, or for a gate's logit if the
  threshold lies above every sample. The quantiser then takes steps of 4e-12. :func:`open_up` and :func:`widen` enlarge
  the range.
- The bias b is stored as the integer b / (s_x s_w[c]), where s_w[c] is the channel's largest weight divided by 127. If
  a channel's weights are nearly zero, the integer does not fit 32 bits and gets the wrong sign. :func:`fit_biases`
  enlarges the steps of such a channel.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gatesearch.compile import flatbuffer

Floats = npt.NDArray[np.float64]

RANGE_OF_ZEROS = 6.0  # upper end of the range of a tensor that was always zero: the upper end of a ReLU6's range
INT8_STEPS = 255
WIDENING = 1.001  # a margin, because rounding may make the steps smaller
LARGEST_BIAS = 2.0**30  # in steps; half of the range of int32 remains for the sum that is added
PRODUCTS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def open_up(observed: Mapping[str, dict[str, Any]]) -> None:
    """Give a range to activations that were always zero; in place.

    Args:
        observed: ``min`` and ``max`` of each tensor, by its name.

    >>> ranges = {"logit": {"min": np.zeros((1, 1)), "max": np.zeros((1, 1))}}
    >>> open_up(ranges)
    >>> ranges["logit"]["max"].tolist()
    [[6.0]]
    """
    for ends in observed.values():
        if not np.any(ends["min"]) and not np.any(ends["max"]):
            ends["max"] = np.full_like(ends["max"], RANGE_OF_ZEROS)


def widen(observed: Mapping[str, dict[str, Any]], model: bytes) -> bool:
    """Widen the output ranges of products with M > 1, whose output has finer steps than the sum; in place.

    Args:
        observed: ``min`` and ``max`` of each tensor, by its name.
        model: the model that was quantised with these ranges.

    Returns:
        Whether any range was widened. A wider range makes the steps of the sums behind it coarser, so the model has to
        be quantised and checked again.
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

    With s_w[c] = |b| / (s_x 2^30) the bias b is 2^30 steps of the sum. The channel's weights are rounded to these
    larger steps. This matters little, because the weights are tiny in comparison with the bias.

    Args:
        model: the int8 model.
        float_model: the float model that was quantised.
    """
    parsed, original = flatbuffer.read(model), flatbuffer.read(float_model)
    float_buffers = {tensor.name: original.buffers[tensor.buffer].data for tensor in original.subgraphs[0].tensors}
    changed = False
    for product in _products(parsed):
        if product.bias is None:
            continue
        # The quantiser copies a bias that several products read, and marks the copy's name.
        name = re.sub(rb"_duplicated_\d+$", b"", _tensor(parsed, product.bias).name)
        if np.abs(_constant(parsed, product.bias, np.int32).astype(float)).max() > LARGEST_BIAS:
            _coarsen(parsed, product, np.frombuffer(bytes(float_buffers[name]), np.float32).astype(float))
            changed = True
    return flatbuffer.to_bytes(parsed) if changed else model


class _Product(NamedTuple):
    """An int8 operator that sums products: its tensors, and the scales of its input, weights and output."""

    output: str  # name of the output
    weights: int  # index of the tensor of weights
    bias: int | None  # index of the tensor of the bias, if there is one
    input_scale: Floats
    weight_scale: Floats
    output_scale: Floats

    @property
    def sum_scale(self) -> Floats:
        """Real value of a step of the sum: one for each output channel, or one for all."""
        return self.input_scale * self.weight_scale


def _coarsen(parsed: Any, product: _Product, bias: Floats) -> None:
    """Enlarge the steps of the weights, one for each channel or one for all, until the bias fits; in place."""
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
    """Yield the int8 operators of a program that multiply inputs with weights."""
    for operator in parsed.subgraphs[0].operators:
        if flatbuffer.operator_name(parsed, operator) not in PRODUCTS:
            continue
        output = _tensor(parsed, operator.outputs[0])
        tensors = [*(_tensor(parsed, index) for index in operator.inputs[:2]), output]
        scales: list[Any] = [getattr(tensor.quantization, "scale", None) for tensor in tensors]
        if any(scale is None or not len(scale) for scale in scales):
            continue  # the operator computes in float
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
