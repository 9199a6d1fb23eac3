"""Tests that a gate is built only where the network agrees with the gate's site."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gatesearch.errors import UserError
from gatesearch.graph.sites import INPUT, check_sites, cut_sites, layer_sites
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan, PlacedGate

STEPS, FEATURES, CLASSES = 6, 8, 3
LAYERS = ("gru", "lstm", "linear", "conv")


class Drawn(nn.Module):
    """Layers over [N, T, F] in a row. Some of their states are read, and some layers run twice.

    The attribute ``input`` has the name of the site at the network's input.
    """

    def __init__(self, kinds: list[str], reads_state: list[bool], shares: list[bool]) -> None:
        super().__init__()
        self.kinds, self.reads_state = kinds, reads_state
        self.input = nn.ModuleList()
        for kind, shared in zip(kinds, shares, strict=True):
            same = [layer for layer, other in zip(self.input, kinds, strict=False) if other == kind]
            self.input.append(same[-1] if same and shared else _layer(kind))
        self.head = nn.Linear(FEATURES, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        for layer, kind, reads in zip(self.input, self.kinds, self.reads_state, strict=True):
            if kind in ("gru", "lstm"):
                y, state = layer(x)
                hidden = state[0] if kind == "lstm" else state
                x = y + hidden.transpose(0, 1) if reads else y
            elif kind == "conv":
                x = layer(x.transpose(1, 2)).transpose(1, 2)
            else:
                x = layer(x).relu()
        return self.head(x.mean(1))


def _layer(kind: str) -> nn.Module:
    if kind in ("gru", "lstm"):
        return {"gru": nn.GRU, "lstm": nn.LSTM}[kind](FEATURES, FEATURES, batch_first=True)
    return nn.Conv1d(FEATURES, FEATURES, 3, padding=1) if kind == "conv" else nn.Linear(FEATURES, FEATURES)


@st.composite
def networks(draw: st.DrawFn) -> Drawn:
    kinds = draw(st.lists(st.sampled_from(LAYERS), min_size=2, max_size=5))
    flags = st.lists(st.booleans(), min_size=len(kinds), max_size=len(kinds))
    return Drawn(kinds, draw(flags), draw(flags))


@settings(max_examples=40, deadline=None)
@given(net=networks())
def test_a_gate_of_a_traced_stage_stands_at_its_site(net: Drawn) -> None:
    net.eval()
    x = torch.zeros(1, STEPS, FEATURES)
    sites = cut_sites(net, x)
    trained = GatedModel(net, GatePlan(), sites, CLASSES).eval().stages[0]
    for module in (net, trained):
        check_sites(module, (STEPS, FEATURES), sites, layer_sites(net, x))
        for site in sites[1:]:
            gate = PlacedGate.of("gc", site.name, keep=0.5, mode="channel", recall=0.9)
            model = GatedModel(module, GatePlan((gate,), ("c", "c")), sites, CLASSES).eval()
            # The stage before the gate has as many multiply-accumulates as the site says.
            [before] = [each for each in cut_sites(model.stages[0], x)[:1] if each.name == INPUT]
            assert before.macs_before + before.macs_after == site.macs_before
            assert model.stages[0](x).shape[1:] == site.shape


@settings(max_examples=40, deadline=None)
@given(net=networks(), other=networks())
def test_sites_of_another_network_are_refused_in_one_line(net: Drawn, other: Drawn) -> None:
    x = torch.zeros(1, STEPS, FEATURES)
    sites, others = cut_sites(net.eval(), x), cut_sites(other.eval(), x)
    for site in sites[1:]:
        if site in others:
            continue
        # By chance, a node of the other network may have the same shape, and the same work on both sides.
        work = (site.shape, site.macs_before, site.macs_after)
        if any((each.shape, each.macs_before, each.macs_after) == work for each in others):
            continue
        with pytest.raises(UserError) as error:
            check_sites(other, (STEPS, FEATURES), (site,))
        assert repr(site.name) in str(error.value) and "\n" not in str(error.value)


def test_a_layer_site_that_changed_is_refused() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3)).eval()
    [first, _] = layer_sites(net, torch.zeros(1, 3, 8, 8))
    for changed, message in (
        (replace(first, name="9"), "no such layer"),
        (replace(first, macs=first.macs + 1), "its macs is 7776, not 7777"),
        (replace(first, shape=(8, 5, 5)), "its shape is 8 x 6 x 6, not 8 x 5 x 5"),
    ):
        with pytest.raises(UserError, match=message):
            check_sites(net, (3, 8, 8), (), (changed,))


def test_a_model_is_not_built_at_a_moved_site() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.ReLU(), nn.Flatten(), nn.Linear(288, 2))
    sites = cut_sites(net, torch.zeros(1, 3, 8, 8))
    moved = tuple(replace(site, node=sites[1].node) if site is sites[2] else site for site in sites)
    gate = PlacedGate.of("gc", sites[2].name, keep=0.5, mode="channel", recall=0.9)
    with pytest.raises(UserError, match=f"site '{sites[2].name}' is of another network"):
        GatedModel(net, GatePlan((gate,), ("c", "c")), moved, 2)
