"""Ranges of activations, and biases, that an int8 program can have.

A range is what was seen of an activation. Where nothing was (a layer whose ReLU never opens, a gate's logit whose
threshold lies above every sample) the quantiser gives it steps of 4e-12: the multiplication from the sum's steps to
these is beyond what any engine knows, and LiteRT ends the whole process over it. A bias is a whole number of the steps
of the sum, which are as fine as the weights are small: that of a channel without weights does not fit 32 bits, and
comes out with the wrong sign.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from gatesearch.compile import flatbuffer

UNSEEN = 6.0  # end of the range of what was never above zero; that of a ReLU6, such as a gate's logit
STEPS = 255
LARGEST = 2.0**30  # of a bias: sums are added to it
PRODUCTS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def open_up(seen: Mapping[str, dict[str, Any]]) -> None:
    """Give activations that were zero all along a range; in place.

    Args:
        seen: ``min`` and ``max`` by tensor.

    >>> ranges = {"logit": {"min": np.zeros((1, 1)), "max": np.zeros((1, 1))}}
    >>> open_up(ranges)
    >>> ranges["logit"]["max"].tolist()
    [[6.0]]
    """
    for ends in seen.values():
        if not np.any(ends["min"]) and not np.any(ends["max"]):
            ends["max"] = np.full_like(ends["max"], UNSEEN)


def widen(seen: Mapping[str, dict[str, Any]], model: bytes) -> bool:
    """Widen, in place, the ranges of products whose output has finer steps than the sum; say whether there were any.

    Args:
        seen: ``min`` and ``max`` by tensor.
        model: quantised with them.
    """
    any_found = False
    for product in _products(flatbuffer.read(model)):
        step, ends = float((product.x * product.weight).max()), seen.get(product.output)
        if ends is not None and float(product.y.min()) < step:
            ends["max"] = np.maximum(ends["max"], ends["min"] + 1.001 * STEPS * step)
            any_found = True
    return any_found


def fit_biases(model: bytes, in_float: bytes) -> bytes:
    """Return an int8 model in which channels whose bias did not fit have weights of larger steps.

    Args:
        model: the int8 model.
        in_float: what it was made of.
    """
    read, original = flatbuffer.read(model), flatbuffer.read(in_float)
    graph, changed = read.subgraphs[0], False
    real = {t.name: original.buffers[t.buffer].data for t in original.subgraphs[0].tensors}
    for product in _products(read):
        if product.bias is None:
            continue
        weight, bias = graph.tensors[product.weights], graph.tensors[product.bias]
        held = np.frombuffer(bytes(read.buffers[bias.buffer].data), np.int32)
        if np.abs(held.astype(float)).max() <= LARGEST:
            continue
        # Constants that several operators read have been copied.
        name = re.sub(rb"_duplicated_\d+$", b"", bias.name)
        wanted = np.frombuffer(bytes(real[name]), np.float32).astype(float)
        least = np.abs(wanted) / product.x / LARGEST
        step = np.maximum(product.weight, least if product.weight.size > 1 else least.max())
        shape = np.ones(len(weight.shape), int)
        shape[weight.quantization.quantizedDimension] = -1
        finer = np.frombuffer(bytes(read.buffers[weight.buffer].data), np.int8).reshape(weight.shape)
        coarser = np.rint(finer * (product.weight / step).reshape(shape if step.size > 1 else -1)).astype(np.int8)
        read.buffers[weight.buffer].data = coarser.reshape(-1).view(np.uint8)
        weight.quantization.scale = step.astype(np.float32)
        bias.quantization.scale = (product.x * step).astype(np.float32)
        read.buffers[bias.buffer].data = np.rint(wanted / (product.x * step)).astype(np.int32).view(np.uint8)
        changed = True
    return flatbuffer.to_bytes(read) if changed else model


class _Product(NamedTuple):
    output: str
    weights: int  # which tensor
    bias: int | None
    x: Any  # scales
    weight: Any
    y: Any


def _products(read: Any) -> Iterator[_Product]:
    graph = read.subgraphs[0]
    for operator in graph.operators:
        if flatbuffer.operator_name(read, operator) not in PRODUCTS:
            continue
        taken = (*operator.inputs[:2], operator.outputs[0])
        scales: list[Any] = [getattr(graph.tensors[i].quantization, "scale", None) for i in taken]
        if any(scale is None or not len(scale) for scale in scales):
            continue  # in float
        bias = int(operator.inputs[2]) if len(operator.inputs) > 2 and operator.inputs[2] >= 0 else None
        output = graph.tensors[operator.outputs[0]].name.decode()
        yield _Product(output, int(operator.inputs[1]), bias, *(scale.astype(float) for scale in scales))
