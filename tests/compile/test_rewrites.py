"""Tests that the rewrites of operators before a conversion keep the function of a module."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import fx, nn

from gatesearch.compile.rewrites import rewrite_operators


class Flat(nn.Module):
    """A network whose layers are attributes of one module, as in a traced stage."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)
        self.pool, self.head = nn.AdaptiveMaxPool2d(1), nn.Linear(3, 4)

    def forward(self, x):
        return self.head(self.pool(self.norm(self.conv(x))).flatten(1))


def _trained(module: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    module.train()
    for _ in range(3):
        module(torch.randn(8, 2, 6, 6) * 3 + 1)
    return module.eval()


@pytest.mark.parametrize(
    "module",
    [
        fx.symbolic_trace(Flat()),
        nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4)),
        nn.Sequential(nn.Conv2d(2, 3, 3), nn.AdaptiveAvgPool2d(2), nn.Linear(2, 5, bias=False)),
        nn.Sequential(nn.Conv2d(2, 3, 3), nn.Sequential(nn.RReLU(0.1, 0.4))),
    ],
)
def test_rewritten_layers_compute_the_same_function(module):
    _trained(module)
    rewritten = rewrite_operators(copy.deepcopy(module))
    x = torch.randn(4, 2, 6, 6)
    torch.testing.assert_close(rewritten(x), module(x))
    assert not any(type(part) in (nn.BatchNorm2d, nn.Linear) for part in rewritten.modules())


def test_a_convolution_whose_output_is_used_twice_keeps_its_batch_norm():
    class Twice(Flat):
        def forward(self, x):
            hidden = self.conv(x)
            return self.norm(hidden) + hidden

    module = _trained(fx.symbolic_trace(Twice()))
    rewritten = rewrite_operators(copy.deepcopy(module))
    x = torch.randn(4, 2, 6, 6)
    torch.testing.assert_close(rewritten(x), module(x))
    assert any(isinstance(part, nn.BatchNorm2d) for part in rewritten.modules())


def test_subclasses_and_hooked_modules_are_not_rewritten():
    class Own(nn.Linear):
        pass

    hooked = nn.Linear(2, 2)
    hooked.register_forward_hook(lambda *_: None)
    rewritten = rewrite_operators(nn.Sequential(Own(2, 2), hooked).eval())
    assert type(rewritten[0]) is Own and rewritten[1] is hooked
