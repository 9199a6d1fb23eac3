"""Tests of the exported part of a gate's logit, for thresholds inside and far outside the logits."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gatesearch.compile.rescale import HALF_WIDTH, LEAST_HALF_WIDTH, RANGE_MARGIN, rescale_head
from gatesearch.compile.stage import StageGraph

thresholds = st.floats(-20, 20) | st.sampled_from([-math.inf, math.inf, -1e9, 1e9, -3e38, 3e38])


class FirstValue(nn.Module):
    """A gate whose logit is the first value of its input, and which passes everything on."""

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        return hidden, hidden[:, :1]


def rescale(logits: Tensor, threshold: float, averages: bool) -> StageGraph:
    stage = StageGraph(
        body=nn.Identity(),
        head=FirstValue(),
        samples=logits,
        shape=(1,),
        threshold=threshold,
        averages_logits=averages,
    )
    return rescale_head(stage)


@settings(max_examples=60, deadline=None)
@given(
    logits=st.lists(st.floats(-10, 10, width=32), min_size=2, max_size=20),
    threshold=thresholds,
    averages=st.booleans(),
)
def test_the_exported_range_stays_near_the_logits_and_keeps_all_decisions(logits, threshold, averages) -> None:
    values = torch.tensor(logits).view(-1, 1)
    stage = rescale(values, threshold, averages)
    low, high = min(logits), max(logits)
    if averages and low - (high - low) <= threshold <= high + (high - low):  # a threshold near the logits
        low, high = min(low, threshold), max(high, threshold)
    center, half_width = stage.logit_window["center"], stage.logit_window["half_width"]
    assert low - 1e-5 <= center <= high + 1e-5
    widest = (1 + RANGE_MARGIN) * (high - low) / 2 if averages else HALF_WIDTH * float(values.std())
    assert half_width == pytest.approx(max(LEAST_HALF_WIDTH, widest), rel=1e-5)
    exported = stage.program(values)[1]
    bound = 3 * (threshold - center) / half_width + 3  # the threshold as an exported value
    for value, code in zip(logits, exported.flatten().tolist(), strict=True):
        if abs(value - threshold) > 1e-3 * half_width:
            assert (code > bound) == (value > threshold)
