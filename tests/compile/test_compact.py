"""Tests of compact .tflite programs: constants inside the file's tables, and short, unique names."""

from __future__ import annotations

import numpy as np
import pytest
import torch
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
