"""Tests of ghost batch normalisation, which normalises each group of a batch's samples by itself."""

from __future__ import annotations

import copy

import torch
from torch import nn

from gatesearch.batch_study import ghost_norm


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5), nn.BatchNorm1d(5),
    )  # fmt: skip


def test_every_group_is_normalised_by_itself() -> None:
    plain, ghosted = model(), model()
    ghost_norm.use_ghost_norms(ghosted, 4)
    assert [type(m).__name__ for m in ghost_norm.find_norms(ghosted)] == ["GhostBatchNorm2d", "GhostBatchNorm1d"]
    x = torch.randn(12, 1, 6, 6) * torch.arange(1, 13).view(-1, 1, 1, 1)
    apart = torch.cat([plain.train()(part) for part in x.split(4)])
    torch.testing.assert_close(ghosted.train()(x), apart)
    assert not torch.allclose(ghosted(x), plain(x), atol=0.1)


def test_gradients_of_a_batch_are_the_mean_of_those_of_its_groups() -> None:
    whole, parts = model(), model()
    for each in (whole, parts):
        ghost_norm.use_ghost_norms(each, 4)
        each.train()
    x = torch.randn(8, 1, 6, 6)
    whole(x).square().mean().backward()
    for part in x.split(4):
        (parts(part).square().mean() / 2).backward()
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_evaluation_uses_the_statistics_of_the_calibration_samples_only() -> None:
    net = model()
    ghost_norm.use_ghost_norms(net, 4)
    x, other = torch.randn(64, 1, 6, 6), torch.randn(8, 1, 6, 6) * 9 + 5
    ghost_norm.measure_statistics(net, [x])
    assert not net.training and not any(m.training for m in net.modules())
    hidden = net[0](x)
    torch.testing.assert_close(net[1](hidden).mean((0, 2, 3)), net[1].bias)
    before = copy.deepcopy(net.state_dict())
    net.train()(other)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    ghost_norm.measure_statistics(net, [x])
    again = net.state_dict()
    assert all(torch.allclose(before[name], again[name]) for name in before)


def test_a_model_without_batch_normalisation_is_not_changed() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))
    ghost_norm.use_ghost_norms(net, 4)
    ghost_norm.measure_statistics(net, [torch.randn(2, 3)])
    assert not ghost_norm.find_norms(net) and not net.training
