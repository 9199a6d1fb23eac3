"""Tests that quantisation corrects ranges and biases that an int8 program could not represent otherwise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gatesearch.compile.tflite import channel_last, convert, quantise
from gatesearch.runtime.program import Program


class Dead(nn.Module):
    """Two convolutions with a ReLU6 between them; on the samples, the input of the ReLU6 is at most ``top``."""

    def __init__(self, top: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 3, 1)
        with torch.no_grad():
            self.first.bias.sub_(self.first(samples()).amax((0, 2, 3)) - top)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(nn.functional.relu6(self.first(x)))


class Bare(nn.Module):
    """A convolution with a bias, in which one channel has zero weights, and another has weights near zero."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(4, 3, 1)
        with torch.no_grad():
            self.conv.weight[0] = 0.0
            self.conv.weight[1] = 1e-9
            self.conv.bias.copy_(torch.tensor([1.5, -2.0, 0.1]))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


def samples() -> Tensor:
    return torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(1))


def outputs(net: nn.Module) -> tuple[np.ndarray, np.ndarray, float]:
    x = samples()
    images = channel_last(x.numpy())
    program = Program(quantise(convert(net.eval(), x[:1]), images))
    result = [program(program.inputs[0].quantise(image[None]))[0] for image in images]
    with torch.no_grad():
        expected = channel_last(net(x).numpy())
    return program.outputs[0].dequantise(np.concatenate(result)), expected, program.outputs[0].scale


@pytest.mark.parametrize("top", [-1.0, 0.0, 1e-9, 1e-6, 1e-5, 1e-2])
def test_a_range_near_zero_gets_a_step_that_engines_accept(top: float) -> None:
    """With a quantisation step of 4e-12, LiteRT refuses the program or ends the process."""
    result, expected, step = outputs(Dead(top))
    np.testing.assert_allclose(result, expected, atol=2 * step)


def test_a_bias_of_a_channel_with_zero_weights_does_not_change() -> None:
    result, expected, step = outputs(Bare())
    np.testing.assert_allclose(result, expected, atol=2 * step)
    assert result[..., 0].min() > 1.4 and result[..., 1].max() < -1.9
