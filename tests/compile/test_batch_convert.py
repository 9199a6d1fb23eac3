"""Tests that several modules in one conversion give the same programs as separate conversions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gatesearch._lib.tool_output import ToolError
from gatesearch.compile import batch_convert, flatbuffer
from gatesearch.compile.batch_convert import convert_all
from gatesearch.compile.tflite import channel_last, convert, quantise
from gatesearch.runtime.program import Program

CHANNELS, SIZE = 4, 6


class TwoOutputs(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.relu(), x[:, :1] + 1.0


class Unknown(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.svd(x)[1]


BUILDERS = {
    "convolution": lambda: nn.Sequential(nn.Conv2d(CHANNELS, 3, 3), nn.BatchNorm2d(3), nn.ReLU()),
    "depthwise": lambda: nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=CHANNELS),
    "pooling": lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(CHANNELS, 2)),
    "one operator": nn.ReLU,
    "two outputs": TwoOutputs,
    "attention": lambda: nn.Sequential(nn.Flatten(2), nn.LayerNorm(SIZE * SIZE), nn.GELU()),
}


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(names=st.lists(st.sampled_from(sorted(BUILDERS)), min_size=2, max_size=5))
def test_modules_converted_together_equal_modules_converted_alone(names: list[str]) -> None:
    torch.manual_seed(0)
    modules = [BUILDERS[name]().eval() for name in names]
    samples = torch.randn(3, CHANNELS, SIZE, SIZE)
    x = channel_last(samples.numpy())
    # All modules get the same input tensor. The conversion still has to keep their programs apart.
    for name, module, model in zip(names, modules, convert_all(modules, [samples[:1]] * len(names)), strict=True):
        alone = convert(module, samples[:1])
        assert flatbuffer.operator_names(model) == flatbuffer.operator_names(alone), name
        for output, expected in zip(Program(model)(x[:1]), Program(alone)(x[:1]), strict=True):
            np.testing.assert_array_equal(output, expected)
        if name != "attention":
            int8, int8_alone = Program(quantise(model, x)), Program(quantise(alone, x))
            levels = int8.inputs[0].quantise(x[:1])
            for output, expected in zip(int8(levels), int8_alone(levels), strict=True):
                np.testing.assert_array_equal(output, expected)


def test_the_error_is_that_of_the_module_that_cannot_be_converted() -> None:
    modules = [nn.ReLU().eval(), Unknown().eval()]
    with pytest.raises(ToolError):
        convert_all(modules, [torch.randn(1, 2, 2)] * 2)


def test_one_conversion_serves_many_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(*arguments: object) -> bytes:
        calls.append(arguments)
        return convert(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(batch_convert, "convert", counted)
    assert len(convert_all([nn.ReLU().eval(), nn.Sigmoid().eval()], [torch.randn(1, 3)] * 2)) == 2
    assert len(calls) == 1
