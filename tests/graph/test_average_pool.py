"""Tests that average pooling, rewritten as small depthwise convolutions, gives the same mean."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gatesearch.compile import flatbuffer, tflite, vela
from gatesearch.compile.rewrites import rewrite_operators
from gatesearch.graph.average_pool import MAX_TAPS, Window, factor_window

SIZES = st.integers(1, 40)


@settings(max_examples=200, deadline=None)
@given(kernel=st.tuples(SIZES, SIZES), stride=st.tuples(SIZES, SIZES), more=st.tuples(SIZES, SIZES), data=st.data())
def test_a_rewritten_pool_computes_the_same_mean(
    kernel: tuple[int, int], stride: tuple[int, int], more: tuple[int, int], data: st.DataObject
) -> None:
    padding = data.draw(st.integers(0, kernel[0] // 2)), data.draw(st.integers(0, kernel[1] // 2))
    stride = data.draw(st.sampled_from([stride, kernel]))
    pool = nn.AvgPool2d(kernel, stride, padding)
    x = torch.rand(1, 2, kernel[0] + more[0] - 1, kernel[1] + more[1] - 1, dtype=torch.float64)
    rewritten = rewrite_operators(nn.Sequential(copy.deepcopy(pool)).eval()).double()
    with torch.no_grad():
        rewritten(x.float())  # the first call creates the weights
        torch.testing.assert_close(rewritten.double()(x), pool(x), atol=1e-6, rtol=1e-6)


@settings(max_examples=200, deadline=None)
@given(kernel=st.tuples(SIZES, SIZES))
def test_windows_without_overlap_are_split_into_factors_of_their_sides(kernel: tuple[int, int]) -> None:
    windows = factor_window(Window(kernel, kernel))
    taps = torch.tensor([window.taps for window in windows])
    assert int(taps.prod()) == kernel[0] * kernel[1]
    assert all(window.taps <= MAX_TAPS or (window.taps % 2 and window.taps % 3) for window in windows)


@pytest.mark.parametrize("size", [(25, 5), (32, 32), (49, 10), (8, 8)])
def test_pooling_over_the_whole_map_stays_on_the_npu_in_fewer_cycles(size: tuple[int, int]) -> None:
    def cycles(pool: nn.Module) -> int:
        x = torch.rand(2, 16, *size)
        model = tflite.convert(nn.Sequential(nn.Conv2d(16, 16, 1), pool).eval(), x[:1])
        result = vela.compile(tflite.quantise(model, tflite.channel_last(x.numpy())))
        assert result.cpu_operators == ()
        return result.cycles

    in_one = nn.Conv2d(16, 16, size, groups=16, bias=False)
    assert cycles(nn.AdaptiveAvgPool2d(1)) < 0.8 * cycles(in_one)


def test_a_pool_over_125_values_is_two_convolutions() -> None:
    model = tflite.convert(nn.Sequential(nn.Conv2d(4, 4, 1), nn.AvgPool2d((25, 5))).eval(), torch.rand(1, 4, 25, 5))
    assert flatbuffer.operator_names(model) == ("CONV_2D", "DEPTHWISE_CONV_2D", "DEPTHWISE_CONV_2D")
