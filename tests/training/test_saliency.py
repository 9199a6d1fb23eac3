"""Tests of the importance of channels: against its formula, and on a network with one useful channel."""

from __future__ import annotations

import copy

import torch
from torch import nn

from gatesearch.graph.sites import cut_sites
from gatesearch.model import split
from gatesearch.training import saliency
from tests.nets import NETS, build


class Picky(nn.Module):
    """A network of four channels that uses only the third."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool, self.last = nn.Conv2d(1, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Linear(4, 2)
        with torch.no_grad():
            self.conv.weight.fill_(1.0)
            self.last.weight[:, [0, 1, 3]] = 0

    def forward(self, x):
        return self.last(self.pool(torch.relu(self.conv(x))).flatten(1))


def test_saliency_finds_the_one_channel_that_matters():
    torch.manual_seed(0)
    model = Picky()
    sites = cut_sites(model, torch.zeros(1, 1, 3, 3))
    saliencies = saliency(model, sites, torch.rand(20, 1, 3, 3), torch.arange(20) % 2)
    assert list(saliencies) == [site.name for site in sites]
    importance = saliencies[sites[1].name]
    assert importance[2] > 0
    assert importance[[0, 1, 3]].eq(0).all()


def test_saliency_follows_the_formula_of_molchanov():
    torch.manual_seed(0)
    model, shape = build("sequential")
    x, y = torch.randn(10, *shape), torch.arange(10) % 3
    sites = cut_sites(model, x)
    site = next(site for site in sites if len(site.shape) == 2 and site.name != "input")
    head, tail = split(model, [site.node])
    expected = torch.zeros(site.channels)
    for sample, label in zip(x.split(1), y.split(1), strict=True):
        hidden = head(sample).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(tail(hidden), label), hidden)
        expected += (hidden * gradient).detach()[0].mean(1).abs() / len(x)
    torch.testing.assert_close(saliency(model, sites, x, y)[site.name], expected, atol=1e-6, rtol=1e-4)


def test_saliency_does_not_depend_on_batches_and_changes_nothing():
    for name in NETS:
        model, shape = build(name)
        model.train()
        state = copy.deepcopy(model.state_dict())
        x, y = torch.randn(10, *shape), torch.arange(10) % 3
        sites = cut_sites(model, x)
        whole, parts = saliency(model, sites, x, y), saliency(model, sites, x, y, batch_size=3)
        for site in sites:
            assert whole[site.name].shape == (site.channels,)
            assert not whole[site.name].requires_grad
            torch.testing.assert_close(parts[site.name], whole[site.name], atol=1e-6, rtol=1e-3)
        assert model.training
        assert all(parameter.grad is None for parameter in model.parameters())
        assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())


def test_saliency_works_with_frozen_weights():
    model, shape = build("ds_cnn")
    model.requires_grad_(False)
    sites = cut_sites(model, torch.zeros(1, *shape))
    saliencies = saliency(model, sites, torch.randn(6, *shape), torch.arange(6) % 3)
    assert all(value.sum() > 0 for value in saliencies.values())
