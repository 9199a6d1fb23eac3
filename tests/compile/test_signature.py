"""Tests that an int8 program returns the tensors that its signature names, whatever else reads them."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gatesearch.compile import tflite
from gatesearch.compile.tflite import channel_last
from gatesearch.runtime.program import Program


class ReadAgain(nn.Module):
    """Returns a tensor, and an operator's result that the same tensor enters with another scale or in float."""

    def __init__(self, shape: str, reader: str, factor: float) -> None:
        super().__init__()
        self.shape, self.reader, self.factor = shape, reader, factor
        self.one, self.two = nn.Conv2d(2, 3, 1), nn.Conv2d(2, 3, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        returned, other = self.one(x), self.two(x) * self.factor
        if self.shape == "flat":
            returned, other = returned.flatten(1), other.flatten(1)
        elif self.shape == "pooled":
            returned, other = (nn.functional.max_pool2d(each, 2, 2) for each in (returned, other))
        return returned, torch.cat([returned, other], 1) if self.reader == "concatenation" else torch.abs(returned)


# A draw takes a second to compile, so a failing one is not made smaller.
@settings(max_examples=6, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(
    shape=st.sampled_from(["map", "flat", "pooled"]),
    reader=st.sampled_from(["concatenation", "operator in float"]),
    factor=st.floats(0.1, 10),
    seed=st.integers(0, 99),
)
def test_an_output_that_an_operator_reads_has_a_grid_of_its_own(shape, reader, factor, seed):
    torch.manual_seed(seed)
    network, x = ReadAgain(shape, reader, factor).eval(), torch.randn(32, 2, 4, 4)
    samples = channel_last(x.numpy())
    program = Program(tflite.quantise(tflite.convert(network, x[:1]), samples))
    with torch.no_grad():
        values, whole = [channel_last(each.numpy()) for each in network(x)], network.one(x).numpy()
    outputs = program(program.inputs[0].quantise(samples[:1]))
    assert program.outputs[0].scale <= 1.01 * max(np.ptp(whole), np.abs(whole).max()) / 255
    for spec, output, expected in zip(program.outputs, outputs, values, strict=True):
        assert np.abs(spec.dequantise(output) - expected[:1]).max() <= 4 * spec.scale
