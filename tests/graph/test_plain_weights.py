"""Tests that networks that compute their weights in each forward pass can be copied, cut and lowered."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

from gatesearch.compile.prune import cut_channels
from gatesearch.errors import UserError
from gatesearch.graph.plain_weights import computes_weights, copy_network, fold_weights
from gatesearch.graph.sites import cut_sites, layer_sites
from gatesearch.graph.trace import trace
from gatesearch.model import GatedModel, split
from gatesearch.plan import GatePlan, PlacedGate


class Halved(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight / 2


def halved(layer: nn.Module) -> nn.Module:
    return parametrize.register_parametrization(layer, "weight", Halved())


def pruned(layer: nn.Module) -> nn.Module:
    return prune.l1_unstructured(layer, "weight", 0.5)


WRAPPERS: list[Callable[[nn.Module], nn.Module]] = [
    nn.utils.weight_norm,
    nn.utils.spectral_norm,
    parametrizations.weight_norm,
    parametrizations.spectral_norm,
    parametrizations.orthogonal,
    halved,
    pruned,
]


class Net(nn.Module):
    def __init__(self, wrap: Callable[[nn.Module], nn.Module]) -> None:
        super().__init__()
        self.a, self.b = wrap(nn.Conv2d(1, 16, 3, padding=1)), wrap(nn.Conv2d(16, 16, 3, padding=1))
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.b(torch.relu(self.a(x)))).mean((2, 3)))


@pytest.mark.parametrize("wrap", WRAPPERS, ids=lambda wrap: f"{wrap.__module__}.{wrap.__name__}")
def test_lowering_reads_computed_weights_once(wrap: Callable[[nn.Module], nn.Module]) -> None:
    torch.manual_seed(0)
    net, x = Net(wrap), torch.randn(8, 1, 8, 8)
    net(x).sum().backward()  # leaves a computed tensor on hooked modules
    copied = copy_network(net).eval()
    assert torch.allclose(copied(x), net.eval()(x), atol=1e-5)
    trained = copy.deepcopy(copied).train()
    trained(x).sum().backward()
    copy.deepcopy(trained)
    plain = copy_network(net).eval()
    fold_weights(plain)
    assert not any(computes_weights(module) for module in plain.modules())
    assert torch.allclose(plain(x), net(x), atol=1e-5)
    assert torch.allclose(copied.eval()(x), net(x), atol=1e-4)  # folding one copy leaves other copies as they are
    channels = [0, 2, 5, 7]
    first = cut_channels(split(copied, ["relu"])[0], x, outputs=channels)
    assert torch.allclose(first(x), torch.relu(copied.a(x))[:, channels], atol=1e-5)  # type: ignore[operator]


@pytest.mark.parametrize("wrap", WRAPPERS, ids=lambda wrap: f"{wrap.__module__}.{wrap.__name__}")
def test_every_parameter_of_a_gated_model_gets_a_gradient(wrap: Callable[[nn.Module], nn.Module]) -> None:
    torch.manual_seed(0)
    net, x = Net(wrap), torch.randn(8, 1, 8, 8)
    sites, layers = cut_sites(net, x[:1]), layer_sites(net, x[:1])
    gate = PlacedGate.of("gc", "relu", keep=0.5, mode="channel", recall=0.9)
    model = GatedModel(net, GatePlan((gate,), ("c", "c")), sites, 3)
    output = model(x)
    (output.logits.sum() + output.gates[0].logit.sum()).backward()
    idle = [name for name, value in model.stages.named_parameters() if value.grad is None]
    assert idle == []
    assert [site.name for site in layers] == ["head"]
    with pytest.raises(UserError, match="unknown site 'b'"):
        GatedModel(net, GatePlan((PlacedGate.of("pg", "b", target=0.0),), ("c",)), sites, 3, layers=layers)


def test_pruned_weights_stay_zero_in_training() -> None:
    copied = copy_network(pruned(nn.Linear(8, 8)))
    optimizer = torch.optim.SGD(copied.parameters(), 0.5)
    zeros = copied.weight == 0
    for _ in range(3):
        optimizer.zero_grad()
        copied(torch.randn(4, 8)).square().sum().backward()
        optimizer.step()
    assert zeros.sum() == 32 and torch.equal(copied.weight == 0, zeros)


def test_a_network_with_plain_weights_traces_as_before() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 2))
    assert not any(computes_weights(module) for module in net.modules())
    assert str(trace(net).graph) == str(trace(copy_network(net)).graph)
