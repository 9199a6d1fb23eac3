"""Tests of recurrent layers as sites: output tuples, multiply-accumulates, and cuts between layers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gatesearch.errors import UserError
from gatesearch.graph.footprint import program_footprint
from gatesearch.graph.operators import OperatorCounter, recurrent_macs
from gatesearch.graph.sites import cut_sites, layer_sites
from gatesearch.model import GatedModel, split
from gatesearch.plan import GatePlan, PlacedGate


class Net(nn.Module):
    """A network of two recurrent layers; its forward drops their states in two different ways."""

    def __init__(self, batch_first: bool = True) -> None:
        super().__init__()
        self.flatten = nn.Flatten(1, 2)
        self.first = nn.LSTM(10, 8, batch_first=batch_first)
        self.second = nn.GRU(8, 6, num_layers=2, bidirectional=True, batch_first=True)
        self.classifier = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden, _ = self.first(self.flatten(x))
        logits: Tensor = self.classifier(self.second(hidden)[0][:, -1])
        return logits


X = torch.randn(3, 1, 7, 10)
FIRST, SECOND, HEAD = 7 * 4 * 8 * (10 + 8), 7 * 2 * 3 * 6 * ((8 + 6) + (12 + 6)), 12 * 3


def test_layer_sites_have_the_macs_computed_by_hand():
    first, second, head = layer_sites(Net(), X)
    assert (first.name, first.op, first.shape_in, first.shape, first.macs) == ("first", "lstm", (7, 10), (7, 8), FIRST)
    assert (second.op, second.shape_in, second.shape, second.macs) == ("gru", (7, 8), (7, 12), SECOND)
    assert (second.depth, second.directions, first.depth, first.directions) == (2, 2, 1, 1)
    assert (head.op, head.macs) == ("linear", HEAD)
    assert first.params == sum(p.numel() for p in Net().first.parameters())


def test_cut_sites_lie_between_recurrent_layers_and_behind_them():
    sites = cut_sites(Net(), X)
    assert [(s.shape, s.macs_before) for s in sites] == [((1, 7, 10), 0), ((7, 8), FIRST), ((12,), FIRST + SECOND)]
    assert sites[1].name == "first"
    assert all(s.macs_before + s.macs_after == FIRST + SECOND + HEAD for s in sites)


def test_stages_compose_to_the_backbone():
    net = Net().eval()
    hidden = X
    for stage in split(net, [site.node for site in cut_sites(net, X)]):
        hidden = stage(hidden)
    assert torch.equal(hidden, net(X))


@pytest.mark.parametrize("grad", [True, False])
def test_the_mac_count_does_not_depend_on_the_code_path(grad):
    net = Net()
    with torch.set_grad_enabled(grad), OperatorCounter() as counter:
        net(X)
    assert counter.macs == 3 * (FIRST + SECOND + HEAD)


def test_the_counter_leaves_no_hooks():
    net = Net()
    with OperatorCounter():
        net(X)
    assert not net.first._forward_hooks and not net.first._forward_pre_hooks


def test_batched_and_single_sequences_have_equal_counts():
    layer = nn.LSTM(4, 5)
    with OperatorCounter() as counter:
        layer(torch.zeros(7, 2, 4))
        layer(torch.zeros(7, 4))
    assert counter.macs == 3 * recurrent_macs(layer, 7)


def test_a_layer_that_does_not_map_sequences_from_a_state_of_zero_is_no_site():
    class WithInitialState(nn.Module):
        def __init__(self, layer: nn.RNNBase, with_state: bool) -> None:
            super().__init__()
            self.layer, self.with_state = layer, with_state

        def forward(self, x: Tensor) -> Tensor:
            state = x[:, :1].transpose(0, 1).contiguous()
            output: Tensor = (self.layer(x, state) if self.with_state else self.layer(x))[0]
            return output

    gru = nn.GRU(5, 5, batch_first=True)
    assert [s.name for s in layer_sites(WithInitialState(gru, False), torch.zeros(2, 4, 5))] == ["layer"]
    assert layer_sites(WithInitialState(gru, True), torch.zeros(2, 4, 5)) == ()
    assert layer_sites(WithInitialState(nn.GRU(5, 5), False), torch.zeros(2, 4, 5)) == ()
    projected = nn.LSTM(5, 5, proj_size=3, batch_first=True)
    assert layer_sites(WithInitialState(projected, False), torch.zeros(2, 4, 5)) == ()


def test_the_footprint_of_a_recurrent_block():
    footprint = program_footprint(Net().eval(), X[:1])
    assert footprint.macs == FIRST + SECOND + HEAD
    assert footprint.activation_bytes >= 7 * (8 + 12)  # what the second layer reads and writes


def test_a_gate_behind_a_recurrent_layer_and_hybrid_matrices_before_it():
    wide = Net()
    wide.first = nn.LSTM(10, 24, batch_first=True)
    wide.second = nn.GRU(24, 6, num_layers=2, bidirectional=True, batch_first=True)
    sites, layers = cut_sites(wide, X), layer_sites(wide, X)
    plan = GatePlan(
        (PlacedGate.of("gc", sites[-1].name, keep=1.0), PlacedGate.of("hmd", "first", factor=2)), ("a", "b")
    )
    model = GatedModel(wide, plan, sites, 3, layers=layers).eval()
    assert model.layer_stages == (0,)
    assert torch.equal(model.cascade(X).logits, model(X).logits)  # without a threshold, no sample stops


class Three(nn.Module):
    """A network of three recurrent layers in a row, whose states are not read."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.GRU(size, 8, batch_first=True) for size in (10, 8, 8))
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.a(x)
        y, _ = self.b(y)
        y, _ = self.c(y)
        return self.head(y.mean(1))


def test_a_site_is_the_same_place_in_a_trace_of_the_trained_network():
    net, x = Three().eval(), torch.randn(2, 6, 10)
    sites = cut_sites(net, x[:1])
    trained = GatedModel(net, GatePlan(), sites, 3).eval().stages[0]
    assert cut_sites(trained, x[:1])[1].node == sites[1].node
    gate = PlacedGate.of("gc", "b", keep=0.5, mode="channel", recall=0.9)
    for backbone in (net, trained):
        first = GatedModel(backbone, GatePlan((gate,), ("c", "c")), sites, 3).stages[0]
        assert [str(node.target) for node in first.graph.nodes if node.op == "call_module"] == ["a", "b"]


def test_a_node_that_the_graph_does_not_have_is_an_error():
    with pytest.raises(UserError, match="node of a cut site 'getitem_9'"):
        split(Three(), ["getitem_9"])
