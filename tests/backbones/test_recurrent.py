"""Tests of recurrent backbones: their sizes, and that they can be cut and gated."""

from __future__ import annotations

import pytest
import torch

from gatesearch.backbones import build
from gatesearch.backbones.recurrent import RecurrentNet, har_bilstm, kws_gru, kws_lstm
from gatesearch.errors import UserError
from gatesearch.graph.sites import layer_sites
from gatesearch.testing.backbones import check_backbone


@pytest.mark.parametrize("factory", [kws_lstm, kws_gru, har_bilstm])
def test_every_recurrent_backbone_conforms(factory):
    shape = (1, 9, 10) if factory is not har_bilstm else (9, 6)
    check_backbone(lambda: factory(4, shape, hidden=6, depth=2, dropout=0.2), torch.randn(3, *shape), 4)


@pytest.mark.parametrize(
    ("name", "shape", "params", "macs"),
    [
        ("kws_lstm", (1, 49, 10), 62_788, 49 * 4 * 118 * 128 + 118 * 12),
        ("kws_gru", (1, 49, 10), 78_552, 49 * 3 * 154 * 164 + 154 * 12),
        ("har_bilstm", (128, 6), 38_412, 128 * 2 * 4 * 64 * 70 + 128 * 12),
    ],
)
def test_every_name_builds_a_network_of_the_expected_size(name, shape, params, macs):
    net = build(name, num_classes=12, input_shape=shape, args={})
    assert sum(p.numel() for p in net.parameters()) == params
    assert sum(site.macs for site in layer_sites(net, torch.zeros(1, *shape))) == macs


def test_the_last_output_joins_the_last_states_of_both_directions():
    net = RecurrentNet("gru", 2, (6, 3), hidden=4, bidirectional=True).eval()
    x = torch.randn(1, 6, 3)
    _, state = net.rnn[0](x)
    torch.testing.assert_close(net.last(net.rnn[0](x)[0]), torch.cat([state[0], state[1]], 1))


def test_forget_gates_start_open():
    net = kws_lstm(hidden=5)
    assert net.rnn[0].bias_ih_l0.tolist()[5:10] == [1.0] * 5
    assert max(net.rnn[0].bias_ih_l0.abs().tolist()[:5]) < 1


@pytest.mark.parametrize(("cell", "shape"), [("lstmm", (1, 5, 5)), ("lstm", (2, 5, 5)), ("lstm", (5,))])
def test_inputs_that_are_no_sequence_are_refused(cell, shape):
    with pytest.raises(ValueError, match="must be"):
        RecurrentNet(cell, 2, shape, hidden=4)


def test_a_recipe_that_feeds_images_gives_an_error_of_one_line():
    with pytest.raises(UserError, match="input_shape must be"):
        build("kws_lstm", num_classes=2, input_shape=(3, 8, 8), args={})
