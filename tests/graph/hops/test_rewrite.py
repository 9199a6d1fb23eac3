"""Tests of networks rewritten to run by hops: without padding in time or with causal padding.

A network that runs by hops computes only the new frames of a window at each decision.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gatesearch.backbones.ds_cnn import DSCNN
from gatesearch.errors import UserError
from gatesearch.graph.hops import HopNetwork, find_obstacles, rewrite_for_hops
from gatesearch.graph.sites import cut_sites
from gatesearch.graph.trace import trace
from tests.graph.hops.backbones import integers, use_integers
from tests.nets import ResNet


class Padded(nn.Module):
    """Residual blocks with padding, as networks for whole windows have them."""

    def __init__(self, kernels: list[int], strides: list[int], dilation: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv1d(2, 2, k, stride, padding=dilation * (k // 2), dilation=dilation)
            for k, stride in zip(kernels, strides, strict=True)
        )
        self.shortcuts = nn.ModuleList(nn.Conv1d(2, 2, 1, stride) for stride in strides)
        self.pool = nn.AdaptiveAvgPool1d(1)

    def forward(self, x: Tensor) -> Tensor:
        for conv, shortcut in zip(self.convs, self.shortcuts, strict=True):
            x = torch.relu(conv(x) + shortcut(x))
        return self.pool(x).flatten(1)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([1, 3, 5]), st.integers(1, 2)), min_size=1, max_size=3),
    st.integers(1, 2),
    st.sampled_from(["remove", "causal"]),
    st.integers(0, 99),
)
def test_a_rewritten_network_has_the_same_weights_and_runs_by_hops(blocks, dilation, padding, seed):
    kernels, strides = ([block[i] for block in blocks] for i in range(2))
    network = Padded(kernels, strides, dilation).eval()
    use_integers(network, seed)
    network.double()
    frames, hop = 64, 8
    rewritten = rewrite_for_hops(network, (2, frames), time_axis=1, padding=padding).network
    assert {k: v.shape for k, v in rewritten.state_dict().items()} == {
        k: v.shape for k, v in network.state_dict().items()
    }
    rewritten.load_state_dict(network.state_dict())
    memory = {"remove": "window", "causal": "stream"}[padding]
    assert find_obstacles(trace(rewritten), (2, frames), 1, hop, memory) == ()
    by_hops = HopNetwork(rewritten, (2, frames), time_axis=1, hop=hop, memory=memory)
    stream = integers((2, frames + 3 * hop), seed)
    with torch.no_grad():
        _, state = by_hops.catch_up(stream[:, :, :frames])
        for k in range(1, 4):
            output, *state = by_hops(stream[:, :, frames + (k - 1) * hop : frames + k * hop], *state)
            if padding == "remove":
                assert torch.equal(output, rewritten(stream[:, :, k * hop : k * hop + frames]))
            else:
                assert torch.equal(output, last_window(rewritten, stream[:, :, : frames + k * hop], frames))


def last_window(network: nn.Module, stream: Tensor, frames: int) -> Tensor:
    """Run the layers before the pool on a whole stream, and pool the frames of its last window."""
    counts = []
    handle = network.get_submodule("pool").register_forward_pre_hook(lambda _, x: counts.append(x[0]))
    network(stream[:, :, :frames])
    network(stream)
    handle.remove()
    window, whole = counts
    return whole[:, :, -window.shape[2] :].contiguous().mean(2)


def test_a_shortcut_is_cut_to_the_frames_of_a_branch_whose_padding_is_removed():
    torch.manual_seed(0)
    network = Padded([3, 5], [1, 1], 1).eval()
    rewritten = rewrite_for_hops(network, (2, 40), time_axis=1)
    assert rewritten.changes == (
        "layer 'convs.0' pads nothing in time: 38 frames a window, not 40",
        "'shortcuts_0' is cut to 38 frames for 'add'",
        "layer 'convs.1' pads nothing in time: 34 frames a window, not 40",
        "'shortcuts_1' is cut to 34 frames for 'add_1'",
    )
    outputs = []
    for each in (network, rewritten.network):
        handle = each.get_submodule("pool").register_forward_pre_hook(lambda _, x: outputs.append(x[0]))
        each(torch.randn(1, 2, 40, generator=torch.Generator().manual_seed(1)))
        handle.remove()
    torch.testing.assert_close(outputs[0][:, :, 3:37], outputs[1])  # away from the ends, padding changes nothing


def test_a_network_whose_graph_stays_keeps_its_class_and_its_sites():
    network = DSCNN(12)
    rewritten = rewrite_for_hops(network, (1, 49, 10), time_axis=1)
    assert type(rewritten.network) is DSCNN and rewritten.changes[-1] == "layer 'pool' pools 12 frames, not 25"
    names, padded = (
        [site.name for site in cut_sites(each, torch.zeros(1, 1, 49, 10))] for each in (rewritten.network, network)
    )
    assert names == padded
    assert network.stem[0].padding == (5, 1) and rewritten.network.training


def test_a_padded_maximum_and_a_short_window_give_an_error_of_one_line():
    with pytest.raises(UserError, match=r"^backbone: layer 'layer2.1.conv2' does not accept the 2 frames that remain"):
        rewrite_for_hops(ResNet().eval(), (3, 48, 32), time_axis=1)
    pool = nn.Sequential(nn.MaxPool1d(3, 1, padding=1), nn.AdaptiveAvgPool1d(1))
    with pytest.raises(UserError, match="'0' pads a maximum; nearest choice: padding='remove'"):
        rewrite_for_hops(pool, (3, 20), time_axis=1, padding="causal")
    with pytest.raises(UserError, match="unknown padding 'removed'; nearest: 'remove'"):
        rewrite_for_hops(pool, (3, 20), time_axis=1, padding="removed")
    flat = nn.Sequential(nn.Conv1d(3, 2, 3, padding=1), nn.Flatten(), nn.Linear(40, 2))
    with pytest.raises(
        UserError,
        match=r"^backbone: layer '2' does not accept the .*frames that remain.*; nearest choice: padding='causal'",
    ):
        rewrite_for_hops(flat, (3, 20), time_axis=1)
