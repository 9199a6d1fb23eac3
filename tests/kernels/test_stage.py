"""Tests of the kernels that run whole int8 stages: depthwise convolutions, lookup tables, rescaling, streams."""

from __future__ import annotations

import os
from ctypes import addressof

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gatesearch.compile.flatbuffer import operator_names
from gatesearch.compile.tflite import channel_first, convert, quantise
from gatesearch.kernels import ConvU8, DepthwiseU8, Geometry, Library
from gatesearch.kernels.library import Shape
from gatesearch.runtime.program import Program
from gatesearch.runtime.stage import CStream, Stage
from gatesearch.runtime.stage_operators import CONV, LARGEST, TABLE, COperator

shapes = st.builds(
    lambda size, c, kernel, stride, pad, dilation: Geometry(size, c, c, kernel, stride, pad, dilation),
    st.tuples(st.integers(5, 9), st.integers(5, 7)),
    st.sampled_from([1, 7, 16, 33]),
    st.sampled_from([(1, 1), (3, 3), (5, 2)]),
    st.sampled_from([(1, 1), (2, 1)]),
    st.sampled_from([(0, 0), (1, 2)]),
    st.sampled_from([(1, 1), (1, 2)]),
)


@settings(max_examples=40)
@given(geometry=shapes, seed=st.integers(0, 99))
def test_depthwise_equals_its_reference(library: Library, geometry: Geometry, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.integers(-127, 128, (geometry.c_in, *geometry.kernel)).astype(np.int8)
    bias = rng.integers(-999, 999, geometry.c_in).astype(np.int32)
    scale = rng.uniform(1e-3, 2e-2, geometry.c_in).astype(np.float32)
    layer = DepthwiseU8(geometry, weight, 130, 7, bias, scale, library)
    x = rng.integers(0, 256, (*geometry.image, geometry.c_in)).astype(np.uint8)
    assert (layer(x) == layer.reference(x)).all()


def test_depthwise_of_other_channels_is_refused(compiled: Library) -> None:
    with pytest.raises(ValueError, match="3 channels in, 4 out"):
        DepthwiseU8(Geometry((2, 2), 3, 4), np.ones((4, 1, 1), np.int8), library=compiled)


def test_stream_lists_the_windows_above_the_threshold(library: Library) -> None:
    rng = np.random.default_rng(0)
    windows = rng.integers(-128, 128, (50, 4, 3)).astype(np.int8)
    # The stage takes the largest value of each row, then a weighted sum of these values.
    weight = rng.integers(-50, 50, (1, 4, 1, 1)).astype(np.int8)
    layer = ConvU8(
        Geometry((1, 1), 4, 1), weight, "bytes", zero=128, scale=np.float32([0.02]), zero_out=120, library=library
    )
    memory, passed = np.zeros(12 + 4 + 1, np.uint8), np.zeros(50, np.int32)
    base, index = memory.ctypes.data, np.arange(12, dtype=np.int32)
    pointers = (layer._packed, layer._sums, layer.bias)
    first = (base, base + 12, None, None, None, index.ctypes.data, None, None, None)
    second = (base + 12, base + 16, *(a.ctypes.data for a in pointers), None, layer.scale.ctypes.data)
    ops = (COperator * 2)(
        COperator(LARGEST, 0, 0, 4, 3, Shape(), *first),
        COperator(CONV, 128, 120, 0, 0, layer.geometry.c, *second, layer.shift.ctypes.data, layer._scratch.ctypes.data),
    )
    stream = CStream(addressof(ops), 2, 12, 50, 3, windows.ctypes.data, base, base + 16, passed.ctypes.data)
    count = library.function("stream")(addressof(stream))
    rows = (windows.max(2).astype(np.int16) + 128).astype(np.uint8)
    logits = np.array([layer.reference(row[None, None])[0, 0, 0] for row in rows]).astype(int) - 128
    assert 0 < count < 50 and passed[:count].tolist() == np.flatnonzero(logits > 3).tolist()


def test_a_lookup_table_maps_each_value_to_its_entry(library: Library) -> None:
    """The arrays of this test have no padding, so that sanitizers detect an access beyond their ends."""
    rng = np.random.default_rng(0)
    windows, table = np.arange(256).astype(np.uint8).view(np.int8).reshape(4, 64), rng.permutation(256).astype(np.uint8)
    window, looked_up, passed = np.zeros(64, np.uint8), np.zeros(65, np.uint8), np.zeros(4, np.int32)
    index = np.append(rng.permutation(64), 63).astype(np.int32)
    pointers = (window.ctypes.data, looked_up.ctypes.data, None, None, None, index.ctypes.data, None, None, None)
    ops = (COperator * 1)(COperator(TABLE, 0, 0, 65, 1, Shape(), *pointers, table.ctypes.data))
    arguments = (windows.ctypes.data, window.ctypes.data, looked_up.ctypes.data + 64, passed.ctypes.data)
    stream = CStream(addressof(ops), 1, 64, 4, 0, *arguments)
    count = library.function("stream")(addressof(stream))
    values = table[windows.view(np.uint8) ^ 0x80]
    assert looked_up.tolist() == values[3][index].tolist()
    assert 0 < count < 4 and passed[:count].tolist() == np.flatnonzero(values[:, 63].astype(int) - 128 > 0).tolist()


class Joined(nn.Module):
    """A network that concatenates a pooled tensor with one of larger values.

    The two tensors have different scales, so LiteRT adds an operator that rescales the pooled one.
    """

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.small, self.large, self.head = nn.Conv2d(2, 3, 1), nn.Conv2d(2, 4, (4, 3)), nn.Conv2d(7, 1, 1)
        self.pool = nn.MaxPool2d((4, 3))
        self.large.weight.data *= 3

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, self.head(torch.cat([self.pool(torch.relu(self.small(x))), torch.relu(self.large(x))], 1))


@pytest.mark.skipif("GATESEARCH_SANITISE" in os.environ, reason="LiteRT's converter is not ours to sanitise")
def test_rescaling_equals_that_of_litert(library: Library) -> None:
    rng = np.random.default_rng(0)
    samples = rng.standard_normal((64, 4, 3, 2)).astype(np.float32)
    model = quantise(convert(Joined(), torch.from_numpy(channel_first(samples[:1]))), samples)
    assert "QUANTIZE" in operator_names(model)
    program = Program(model)
    passed, logit = (spec.name for spec in program.outputs)
    stage = Stage(model, logit, passed, library)
    windows = rng.integers(-128, 128, (200, 1, 4, 3, 2)).astype(np.int8)
    result = []
    for window in windows:
        stage.bind(window, 0, np.zeros(1, np.int32))()
        result.append(stage.logit())
    assert result == [int(program(window)[1].flat[0]) for window in windows] and len(set(result)) > 20
