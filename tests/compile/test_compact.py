"""Tests of compact .tflite programs: constants inside the file's tables, and nothing in vain."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gatesearch.compile import flatbuffer
from gatesearch.compile.tflite import channel_last, convert, quantise
from gatesearch.runtime.program import Program


@pytest.mark.parametrize("width", [4, 96])
def test_micro_computes_what_the_reference_does_however_large_the_weights(width: int) -> None:
    """The quantiser writes the weights of the wider network behind the file's tables; compaction moves them inside."""
    torch.manual_seed(0)
    layers = nn.Conv2d(3, width, 3), nn.ReLU(), nn.Conv2d(width, width, 3), nn.ReLU(), nn.Conv2d(width, 4, 3)
    x = torch.randn(4, 3, 9, 9)
    images = channel_last(x.numpy())
    model = quantise(convert(nn.Sequential(*layers).eval(), x[:1]), images)
    assert not flatbuffer.has_outside_constants(model)
    micro, reference = Program(model, "tflm"), Program(model, "reference")
    for image in images:
        raw = micro.inputs[0].quantise(image[None])
        np.testing.assert_array_equal(micro(raw)[0], reference(raw)[0])
    assert micro.arena_bytes is not None and micro.arena_bytes < 2 * 9 * 9 * width + 10_000  # no weights in it
    names = [tensor.name for tensor in flatbuffer.read(model).subgraphs[0].tensors]
    assert len(set(names)) == len(names)


def test_a_compact_program_holds_no_zero_point_twice_and_nothing_that_no_engine_reads() -> None:
    """The zero points of the weights and biases of three layers of 64 channels take 3 KiB in the quantiser's file."""
    torch.manual_seed(0)
    net = nn.Sequential(*(nn.Conv2d(2 if n == 0 else 64, 64, 1) for n in range(3))).eval()
    x = torch.randn(2, 2, 4, 4)
    model = quantise(convert(net, x[:1]), channel_last(x.numpy()))
    parsed = flatbuffer.read(model)
    scales = sum(4 * len(t.quantization.scale) for t in parsed.subgraphs[0].tensors if t.quantization is not None)
    constants = sum(len(buffer.data) for buffer in parsed.buffers if buffer.data is not None)
    assert len(model) < constants + scales + 64 * 8 + 2_500
    assert parsed.metadata is None and parsed.description is None


@settings(max_examples=4, deadline=None)
@given(width=st.integers(1, 20), depth=st.integers(1, 3), seed=st.integers(0, 99))
def test_compaction_changes_no_output_and_aligns_constants(width: int, depth: int, seed: int) -> None:
    torch.manual_seed(seed)
    layers = [nn.Sequential(nn.Conv2d(width if n else 2, width, 3, padding=1), nn.ReLU()) for n in range(depth)]
    x = torch.randn(3, 2, 5, 5)
    images = channel_last(x.numpy())
    plain = convert(nn.Sequential(*layers).eval(), x[:1])
    model = flatbuffer.compact(plain)
    assert len(model) < len(plain) and flatbuffer.compact(model) == model
    for image in images:
        np.testing.assert_array_equal(
            Program(model, "reference")(image[None])[0], Program(plain, "reference")(image[None])[0]
        )
    int8 = quantise(plain, images)
    assert all(place % flatbuffer.DATA_ALIGNMENT_BYTES == 0 for place in data_places(int8))


def test_a_constant_of_no_values_stays_a_constant() -> None:
    """The shape of a scalar is such a constant; LiteRT gives no memory to results whose shape it has to compute."""
    parsed = flatbuffer.read(convert(nn.Linear(4, 3).eval(), torch.zeros(1, 4)))
    buffer, tensor = schema.BufferT(), copy.copy(parsed.subgraphs[0].tensors[0])
    buffer.data, tensor.shape, tensor.buffer = np.zeros(0, np.uint8), np.zeros(1, np.int32), len(parsed.buffers)
    parsed.buffers.append(buffer)
    parsed.subgraphs[0].tensors.append(tensor)
    compacted = flatbuffer.read(flatbuffer.compact(flatbuffer.to_bytes(parsed)))
    assert compacted.buffers[compacted.subgraphs[0].tensors[-1].buffer].data is not None


def data_places(model: bytes) -> list[int]:
    """Return the position of each constant in a file."""
    parsed = schema.Model.GetRootAs(model, 0)
    tables = [parsed.Buffers(index) for index in range(parsed.BuffersLength())]
    first_field = 4  # the position of the field `data` in the schema's table of fields
    return [table._tab.Vector(table._tab.Offset(first_field)) for table in tables if table.DataLength()]
