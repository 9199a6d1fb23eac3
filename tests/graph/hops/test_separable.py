"""Tests that a pooling in two steps gives the same result as in one, and needs less state on a stream."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gatesearch.gates import build_gate
from gatesearch.gates.gc.lowered import pool_frames_first
from gatesearch.graph.hops import HopNetwork, separate_pools, work_by_hop
from gatesearch.graph.sites import CutSite
from gatesearch.graph.trace import trace_program
from gatesearch.plan import PlacedGate

SETTINGS = settings(max_examples=25, deadline=None)


@SETTINGS
@given(
    kind=st.sampled_from([nn.AvgPool2d, nn.MaxPool2d]),
    channels=st.integers(1, 3),
    frames=st.integers(2, 9),
    bins=st.integers(2, 5),
    time_axis=st.integers(1, 2),
)
def test_a_pooling_over_a_map_gives_the_same_in_two_steps(kind, channels, frames, bins, time_axis):
    sizes = (frames, bins) if time_axis == 1 else (bins, frames)
    network = nn.Sequential(nn.ReLU(), kind(sizes), nn.Flatten(), nn.Linear(channels, 2)).eval()
    before = copy.deepcopy(network)
    shape = (channels, *sizes)
    [line] = separate_pools(network, shape, time_axis)
    assert line.endswith(f"then {frames} frames")
    x = torch.randn(3, *shape)
    assert torch.allclose(network(x), before(x), atol=1e-5)
    assert network.state_dict().keys() == before.state_dict().keys()
    one, two = (
        HopNetwork(trace_program(each), shape, time_axis=time_axis, hop=1).state_elements for each in (before, network)
    )
    assert one == channels * (frames - 1) * bins and two == channels * (frames - 1)


@pytest.mark.parametrize(
    "pool",
    [nn.AvgPool2d((4, 3)), nn.AvgPool2d((8, 3), padding=(1, 0)), nn.MaxPool2d((8, 1)), nn.AdaptiveAvgPool2d(1)],
)
def test_any_other_pooling_stays_as_it_is(pool):
    network = nn.Sequential(nn.ReLU(), pool, nn.Flatten())
    assert separate_pools(network, (2, 8, 3), time_axis=1) == ()
    assert network[1] is pool


def test_a_sequence_has_no_map_to_pool():
    assert separate_pools(nn.Sequential(nn.Conv1d(3, 2, 2), nn.AvgPool1d(4)), (3, 9), time_axis=1) == ()


@SETTINGS
@given(channels=st.integers(2, 6), frames=st.integers(3, 12), bins=st.integers(3, 6), seed=st.integers(0, 99))
def test_a_gate_head_that_pools_frames_first_decides_alike(channels, frames, bins, seed):
    torch.manual_seed(seed)
    shape = (channels, frames, bins)
    site = CutSite("x", shape, 0, math.prod(shape), 0, 0, "x")
    head = build_gate(site, PlacedGate.of("gc", "x", keep=1.0, mode="channel")).eval().lower().head.eval()
    by_frames = copy.deepcopy(head)
    pool_frames_first(by_frames, time_axis=1)
    x = torch.rand(4, *shape)
    for one, two in zip(head(x), by_frames(x), strict=True):
        assert torch.allclose(one, two, atol=1e-4)
    whole, hop = (work_by_hop(HopNetwork(trace_program(each), shape, time_axis=1, hop=1)) for each in (head, by_frames))
    assert hop.state < whole.state and hop.hop_macs < whole.hop_macs
