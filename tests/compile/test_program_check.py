"""Tests that a wrong program of a converter or quantiser is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gatesearch._lib.tool_output import ToolError
from gatesearch.compile import flatbuffer, program_check, tflite
from gatesearch.gates import build_gate
from gatesearch.graph.sites import layer_sites
from gatesearch.plan import PlacedGate


def network(channels: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(channels * 36, 4),
    ).eval()  # fmt: skip


def with_other_constant(model: bytes, operator: int, factor: float) -> bytes:
    """Return a model in which the weights of an operator are multiplied by a factor."""
    parsed = flatbuffer.read(model)
    graph = parsed.subgraphs[0]
    products = [each for each in graph.operators if len(each.inputs) == 3]
    tensor = graph.tensors[products[operator].inputs[1]]
    buffer = parsed.buffers[tensor.buffer]
    dtype = np.int8 if tensor.type == 9 else np.float32  # 9: int8
    values = np.frombuffer(bytes(buffer.data), dtype) * factor
    buffer.data = np.frombuffer(values.astype(dtype).tobytes(), np.uint8)
    return flatbuffer.to_bytes(parsed)


@settings(max_examples=3, deadline=None)
@given(channels=st.integers(3, 8), factor=st.sampled_from([-1.0, 0.0, 1.02]))
def test_the_error_of_a_program_with_a_wrong_constant_names_the_last_layer_that_is_right(
    channels: int, factor: float
) -> None:
    net, x = network(channels), torch.randn(1, 2, 8, 8)
    model = tflite.convert(net, x)
    with torch.no_grad():
        reference = [net(x).numpy()]
    program_check.check_float(model, net, [x.numpy()], reference)
    with pytest.raises(ToolError, match=r"wrong program: output 0 differs .* behind layer '1'"):
        program_check.check_float(with_other_constant(model, 1, factor), net, [x.numpy()], reference)


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 99), kind=st.sampled_from(["fbs", "pg", "fbs_pg"]))
def test_a_gate_that_rounding_changes_is_accepted_but_another_function_is_refused(seed: int, kind: str) -> None:
    torch.manual_seed(seed)
    net, x = network(8), torch.randn(1, 2, 8, 8)
    [_, site, _] = layer_sites(net, x)
    gated = nn.Sequential(net[0], net[1], build_gate(site, PlacedGate.of(kind, site.name), net[2]), *net[3:]).eval()
    model = tflite.convert(gated, x)
    with torch.no_grad():
        right = gated(x).numpy()
    turned, other = (right + share * np.abs(right).max() * np.eye(1, 4, dtype=np.float32) for share in (0.03, 1.0))
    program_check.check_float(model, gated, [x.numpy()], [turned])
    with pytest.raises(ToolError, match="wrong program"):
        program_check.check_float(model, gated, [x.numpy()], [other])
    plain = tflite.convert(net, x)
    with torch.no_grad(), pytest.raises(ToolError, match="wrong program"):
        program_check.check_float(plain, net, [x.numpy()], [1.03 * net(x).numpy()])


def test_a_converter_that_writes_a_wrong_constant_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    import litert_torch

    write = litert_torch.convert

    class Wrong:
        def __init__(self, *args: Any) -> None:
            self._model = bytes(write(*args).model_content())

        def model_content(self) -> bytes:
            return with_other_constant(self._model, 0, -1.0)

    monkeypatch.setattr(litert_torch, "convert", Wrong)
    with pytest.raises(ToolError, match="the converter wrote a wrong program"):
        tflite.convert(network(4), torch.randn(1, 2, 8, 8))


def test_an_int8_program_of_another_function_is_refused() -> None:
    net, x = network(6), torch.randn(16, 2, 8, 8)
    samples = tflite.channel_last(x.numpy())
    model = tflite.convert(net, x[:1])
    quantised = tflite.quantise(model, samples)
    program_check.check_int8(quantised, model, samples)
    with pytest.raises(ToolError, match="steps on average"):
        program_check.check_int8(with_other_constant(quantised, 2, -1.0), model, samples)
