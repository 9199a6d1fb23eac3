"""Tests that networks give the same outputs by hops as on whole windows, with gates open or closed.

A network that runs by hops computes only the new frames of a window at each decision.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gatesearch.backbones.ds_cnn import DSCNN
from gatesearch.compile.prune import cut_channels
from gatesearch.errors import UserError
from gatesearch.graph.hops import (
    HopNetwork,
    Part,
    common_hop,
    find_obstacles,
    hop_networks,
    rewrite_for_hops,
    work_by_hop,
)
from gatesearch.graph.trace import trace, trace_program
from gatesearch.model import split
from tests.graph.hops.backbones import Last, Mean, Recurrent, Residual, integers, networks

SETTINGS = settings(max_examples=30, deadline=None)
GATES = st.lists(st.booleans(), min_size=3, max_size=9)


def stream_for(shape: tuple[int, ...], frames: int, seed: int) -> Tensor:
    return integers((shape[0], frames, *shape[2:]), seed)


@SETTINGS
@given(networks(), st.integers(1, 4), st.integers(0, 99), GATES)
def test_each_hop_gives_what_the_whole_window_gives_bit_for_bit(drawn, hops, seed, gate_is_open):
    network, shape, stride = drawn
    network.double()
    hop, frames = stride * hops, shape[1]
    part = Part(HopNetwork(network, shape, time_axis=1, hop=hop))
    stream = stream_for(shape, frames + hop * len(gate_is_open), seed)
    part.begin(stream[:, :, :frames])
    with torch.no_grad():
        for k, is_open in enumerate(gate_is_open, 1):
            output = part.step(stream[:, :, frames + (k - 1) * hop : frames + k * hop], is_open)
            assert (output is not None) == is_open
            if is_open:
                assert torch.equal(output, network(stream[:, :, k * hop : k * hop + frames]))


@SETTINGS
@given(networks(), st.integers(1, 3), st.integers(0, 99), GATES)
def test_a_hop_that_the_strides_do_not_divide_is_answered_by_phases(drawn, hop, seed, gate_is_open):
    network, shape, stride = drawn
    network.double()
    whole, frames = common_hop(hop, stride), shape[1]
    part = Part(HopNetwork(network, shape, time_axis=1, hop=whole), phases=whole // hop)
    stream = stream_for(shape, frames + hop * len(gate_is_open), seed)
    part.begin(stream[:, :, :frames])
    with torch.no_grad():
        for k, is_open in enumerate(gate_is_open, 1):
            output = part.step(stream[:, :, frames + (k - 1) * hop : frames + k * hop], is_open)
            if is_open:
                assert torch.equal(output, network(stream[:, :, k * hop : k * hop + frames]))


@SETTINGS
@given(networks(), st.integers(1, 3), st.integers(0, 99), st.data())
def test_both_sides_of_any_cut_run_by_hops_each_with_a_gate_of_its_own(drawn, hops, seed, data):
    network, shape, stride = drawn
    network.double()
    nodes = [node.name for node in trace(network).graph.nodes if node.op == "call_module"]
    inside = ("layer", "first", "second")  # two tensors cross a cut behind one of these modules
    names = [name for name in nodes if not any(each in name for each in inside)]
    assume(names)
    cut = data.draw(st.sampled_from(names))
    hop, frames = stride * hops, shape[1]
    first, second = hop_networks(split(network, [cut]), shape, time_axis=1, hop=hop)
    steady = Part(first)
    on_demand = None if second.frames is None else Part(second)
    gate_is_open = data.draw(GATES)
    stream = stream_for(shape, frames + hop * len(gate_is_open), seed)
    steady.begin(stream[:, :, :frames])
    with torch.no_grad():
        crossing, _ = first.catch_up(stream[:, :, :frames])
        if on_demand is not None:
            on_demand.begin(crossing)
        for k, is_open in enumerate(gate_is_open, 1):
            fresh = steady.step(stream[:, :, frames + (k - 1) * hop : frames + k * hop])
            output = on_demand.step(fresh, is_open) if on_demand is not None else second(fresh)[0]
            if output is not None:
                assert torch.equal(output, network(stream[:, :, k * hop : k * hop + frames]))


@SETTINGS
@given(networks(ends=("gru", "lstm"), max_layers=3), st.integers(1, 4), st.integers(0, 99))
def test_recurrent_layers_carry_the_state_of_the_stream_or_start_anew_with_each_window(drawn, hops, seed):
    network, shape, stride = drawn
    hop, frames = stride * hops, shape[1]
    by_window = HopNetwork(network, shape, time_axis=1, hop=hop, recompute=True)
    stream = stream_for(shape, frames + 4 * hop, seed).float()
    window = stream[:, :, :frames]
    with torch.no_grad():
        _, anew = by_window.catch_up(window)
        for k in range(1, 5):
            fresh = stream[:, :, frames + k * hop - min(hop, frames) : frames + k * hop]
            output, *anew = by_window(fresh, *anew)
            expected = network(stream[:, :, k * hop : k * hop + frames])
            torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-6)
        front, end = network[:-1], network[-1]
        crossing = front(window)
        steps = crossing.shape[2]
        if hop // stride > steps:
            with pytest.raises(UserError, match="would miss frames"):
                HopNetwork(network, shape, time_axis=1, hop=hop, memory="stream")
            return
        carried = HopNetwork(network, shape, time_axis=1, hop=hop, memory="stream")
        output, state = carried.catch_up(window)
        torch.testing.assert_close(output, network(window))
        for k in range(1, 5):
            output, *state = carried(stream[:, :, frames + (k - 1) * hop : frames + k * hop], *state)
            new = hop // stride
            crossing = torch.cat([crossing, front(stream[:, :, k * hop : k * hop + frames])[:, :, -new:]], 2)
            torch.testing.assert_close(output, end(crossing), rtol=1e-5, atol=1e-6)


class Excited(nn.Module):
    """A network that scales channels by a function of their means."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv1d(3, 4, 3), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return (x * self.fc(x.mean(2)).relu().unsqueeze(2)).amax(2)


class Placed(nn.Module):
    """A network that adds a learned value to each frame of a window."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.place = nn.Conv1d(3, 4, 3), nn.Parameter(torch.ones(1, 4, 18))

    def forward(self, x: Tensor) -> Tensor:
        return (self.conv(x) + self.place).mean(2)


class Attending(nn.Module):
    """A network with attention over all frames."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(3, 1, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        return self.attention(x, x, x, need_weights=False)[0].mean(1)


class BothWays(nn.Module):
    """A network with a recurrent layer that reads forwards and backwards in time."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(3, 4, bidirectional=True, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        output, _ = self.rnn(x.transpose(1, 2))
        return output[:, -1]


OBSTACLES = {
    "'0' pads in time, 1 frames before": nn.Sequential(nn.Conv1d(3, 4, 3, padding=1), Mean()),
    "'0' has a stride of 2 in time, which does not divide the hop of 1": nn.Sequential(nn.Conv1d(3, 4, 3, 2), Last()),
    "'1' has a stride of 2": nn.Sequential(nn.Conv1d(3, 4, 3), nn.MaxPool1d(2), Last()),
    "'rnn' reads backwards in time": BothWays(),
    "'attention' attends from each frame": Attending(),
    "'mul' changes each frame by 'unsqueeze'": Excited(),
    "'add' adds a different value of": Placed(),
    "'1' normalises over the frames": nn.Sequential(nn.Conv1d(3, 4, 3), nn.GroupNorm(2, 4), Mean()),
    "'0' pools parts of a window": nn.Sequential(nn.AdaptiveAvgPool1d(4), Mean()),
    "'0' (ConvTranspose1d) is unknown here": nn.Sequential(nn.ConvTranspose1d(3, 4, 3), Mean()),
}


@pytest.mark.parametrize(("reason", "network"), OBSTACLES.items())
def test_a_layer_that_cannot_run_by_hops_has_one_line_and_is_exact_if_it_computes_whole_windows(reason, network):
    network.eval()
    [line] = find_obstacles(trace(network), (3, 20), time_axis=1, hop=1)
    assert reason in line and line.startswith("backbone: layer ") and "\n" not in line
    with pytest.raises(UserError) as error:
        HopNetwork(network, (3, 20), time_axis=1, hop=1)
    assert str(error.value) == line
    by_hops = HopNetwork(network, (3, 20), time_axis=1, hop=1, recompute=True)
    stream = torch.randn(2, 3, 24, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        _, state = by_hops.catch_up(stream[:, :, :20])
        for k in range(1, 5):
            output, *state = by_hops(stream[:, :, 19 + k : 20 + k], *state)
            torch.testing.assert_close(output, network(stream[:, :, k : k + 20]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"time_axis": 2, "hop": 1}, "hops: time_axis: 2 is no axis of [3, 20]; choices: 0 to 1"),
        ({"time_axis": 1, "hop": 0}, "hops: hop: 0 frames; nearest choice: 1"),
        (
            {"time_axis": 1, "hop": 1, "memory": "streams"},
            "hops: memory: unknown memory 'streams'; nearest: 'stream' (choices: window, stream)",
        ),
    ],
)
def test_a_wrong_setting_gives_an_error_of_one_line(settings, line):
    with pytest.raises(UserError) as error:
        HopNetwork(nn.Sequential(nn.Conv1d(3, 4, 3), Mean()), (3, 20), **settings)
    assert str(error.value) == line


def test_the_first_state_follows_a_window_of_zeros():
    network = nn.Sequential(nn.Conv1d(3, 4, 3), nn.ReLU(), Residual(nn.Conv1d(4, 4, 3), 2), Last()).eval()
    by_hops = HopNetwork(network, (3, 20), time_axis=1, hop=2)
    stream = torch.cat([torch.zeros(2, 3, 20), torch.randn(2, 3, 4)], 2)
    with torch.no_grad():
        state = by_hops.initial_state(batch=2)
        for k in (1, 2):
            output, *state = by_hops(stream[:, :, 18 + 2 * k : 20 + 2 * k], *state)
        torch.testing.assert_close(output, network(stream[:, :, 4:24]))
    assert [tuple(each.shape[1:]) for each in state] == [each.shape for each in by_hops.states]


def test_time_may_be_the_first_axis_of_a_sequence():
    network = nn.Sequential(nn.Linear(5, 4), Turned(), nn.Conv1d(4, 3, 5), Recurrent("gru", 3)).eval()
    by_hops = HopNetwork(network, (20, 5), time_axis=0, hop=3, memory="stream")
    window = torch.randn(1, 20, 5)
    torch.testing.assert_close(by_hops.catch_up(window)[0], network(window))
    assert [state.name for state in by_hops.states] == ["transpose", "_3_rnn.h"]


class Turned(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


def test_in_float_a_hop_is_within_rounding_of_the_whole_window():
    torch.manual_seed(0)
    network = rewrite_for_hops(DSCNN(12).eval(), (1, 49, 10), time_axis=1).network
    part = Part(HopNetwork(network, (1, 49, 10), time_axis=1, hop=2))
    stream = torch.randn(1, 1, 89, 10)
    part.begin(stream[:, :, :49])
    with torch.no_grad():
        for k in range(1, 21):
            output = part.step(stream[:, :, 47 + 2 * k : 49 + 2 * k])
            torch.testing.assert_close(output, network(stream[:, :, 2 * k : 2 * k + 49]), rtol=1e-5, atol=1e-7)


def test_a_hop_of_the_keyword_network_multiplies_far_less_than_its_window():
    network = rewrite_for_hops(DSCNN(12).eval(), (1, 49, 10), time_axis=1).network
    work = work_by_hop(HopNetwork(network, (1, 49, 10), time_axis=1, hop=2))
    assert work.state == 9 * 10 + 64 * 5 * (4 * 2 + 11) and work.buffer == 490
    assert work.window_macs > 14 * work.hop_macs
    assert work.macs(openings=3, open_hops=10) == 3 * work.window_macs + 7 * work.hop_macs


class MeanAndMaximum(nn.Module):
    """The means and the maxima over a window, as in the head of a gate; a convolution computes the means."""

    def __init__(self, channels: int, frames: int) -> None:
        super().__init__()
        self.mean = nn.Conv1d(channels, channels, frames, groups=channels, bias=False)
        self.maximum = nn.MaxPool1d(frames)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, torch.cat([self.mean(x), self.maximum(x)], 1).flatten(1)


@SETTINGS
@given(st.integers(1, 4), st.integers(1, 12), st.integers(1, 4), st.integers(0, 99))
def test_layers_that_read_the_whole_window_may_be_joined(channels, frames, hop, seed):
    network = MeanAndMaximum(channels, frames).eval().double()
    for weight in network.parameters():
        weight.data = integers(tuple(weight.shape), seed)[0]
    hops = HopNetwork(trace_program(network), (channels, frames), time_axis=1, hop=hop)
    stream = integers((channels, frames + hop), seed + 1)
    with torch.no_grad():
        _, state = hops.catch_up(stream[:, :, :frames])
        (passed, pooled), *_ = hops(stream[:, :, frames + hop - min(hop, frames) :], *state)
        whole_passed, whole_pooled = network(stream[:, :, hop:])
    assert torch.equal(pooled, whole_pooled)
    assert torch.equal(passed, whole_passed[:, :, -passed.shape[2] :])


@SETTINGS
@given(st.integers(2, 6), st.integers(1, 6), st.integers(1, 3), st.integers(0, 99))
def test_a_stage_without_some_channels_runs_by_hops(channels, count, hop, seed):
    network = nn.Sequential(nn.Conv1d(3, channels, 3), nn.ReLU(), nn.Conv1d(channels, channels, 2)).eval()
    for weight in network.parameters():
        weight.data = integers(tuple(weight.shape), seed)[0].float()
    remaining = sorted(range(channels), key=lambda i: (i * 7 + seed) % channels)[: min(count, channels)]
    stage = cut_channels(trace(network), torch.zeros(1, 3, 9), inputs=[0, 2], outputs=remaining).double()
    hops = HopNetwork(trace_program(stage), (2, 9), time_axis=1, hop=hop)
    stream = integers((2, 9 + hop), seed + 1)
    with torch.no_grad():
        _, state = hops.catch_up(stream[:, :, :9])
        output, *_ = hops(stream[:, :, 9:], *state)
        assert torch.equal(output, stage(stream[:, :, hop:])[:, :, -output.shape[2] :])
