"""Tests that a layer with hooks is no layer site, because a gate in its place would not run the hooks."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from gatesearch._lib.console import collect_warnings
from gatesearch.graph.sites import layer_sites

REGISTER_METHODS = (
    "register_forward_hook",
    "register_forward_pre_hook",
    "register_full_backward_hook",
    "register_full_backward_pre_hook",
)


def net() -> nn.Sequential:
    blocks = [nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU()) for _ in range(3)]
    return nn.Sequential(*blocks)


@given(st.sampled_from(REGISTER_METHODS), st.integers(0, 2))
def test_a_layer_with_hooks_is_no_site_and_a_warning_says_so(register: str, block: int) -> None:
    network = net()
    getattr(network[block][0], register)(lambda *_: None)
    with collect_warnings() as lines:
        sites = layer_sites(network, torch.zeros(1, 2, 4, 4))
    assert [site.name for site in sites] == [f"{i}.0" for i in range(3) if i != block]
    assert lines == [f"backbone: layer {block}.0 has hooks, which a gate would not run; no gate takes its place"]


@pytest.mark.parametrize("register", REGISTER_METHODS)
def test_a_normalisation_with_hooks_is_not_part_of_the_site_before_it(register: str) -> None:
    network = net()
    getattr(network[1][1], register)(lambda *_: None)
    sites = layer_sites(network, torch.zeros(1, 2, 4, 4))
    assert [site.norm for site in sites] == ["0.1", None, "2.1"]
