"""Before a training, a line names the layer for which firmware has no kernel."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gatesearch.backbones.ds_cnn import DSCNN
from gatesearch.backbones.recurrent import RecurrentNet
from gatesearch.devices import profile
from gatesearch.export.firmware.dry_compile import find_obstacle
from gatesearch.graph.sites import cut_sites, layer_sites
from gatesearch.kernels import native
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan, PlacedGate

pytestmark = pytest.mark.skipif(native.load() is None, reason="needs a compiler")
SHAPE = (1, 12, 10)


class Small(nn.Module):
    """Two convolutions with a function between them, a pooling and a linear layer."""

    def __init__(self, function: nn.Module) -> None:
        super().__init__()
        self.first, self.middle, self.second = nn.Conv2d(1, 16, 3, padding=1), function, nn.Conv2d(16, 16, 1)
        self.last, self.pool, self.linear = nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [N, 1, 12, 10] to [N, 4]."""
        maps = self.last(self.second(self.middle(self.first(x))))
        return self.linear(self.pool(maps).flatten(1))


def obstacle(network: nn.Module, *gates: PlacedGate) -> str | None:
    torch.manual_seed(0)
    x = torch.randn(16, *SHAPE)
    model = GatedModel(
        network, GatePlan(gates, ("m33",)), cut_sites(network, x[:1]), 4, layers=layer_sites(network, x[:1])
    )
    with torch.no_grad():
        model.train()(x)
    return find_obstacle(model.eval(), x, profile.load("stm32u3c5"))


@pytest.mark.parametrize(
    "network",
    [DSCNN(4, SHAPE, width=16, blocks=1), Small(nn.Tanh()), RecurrentNet("gru", 4, SHAPE, hidden=6)],
    ids=["convolutions", "tanh", "gru"],
)
def test_networks_whose_layers_have_kernels_have_no_obstacle(network):
    assert obstacle(network) is None


def test_an_operator_without_a_kernel_is_named_with_its_layer():
    line = obstacle(Small(nn.Softplus()))
    assert line is not None and line.startswith("stage 0: no kernel for ")
    assert line.endswith("to which 'middle' (Softplus) is converted") and "\n" not in line


@pytest.mark.parametrize(
    ("network", "gate", "reason"),
    [
        (Small(nn.Tanh()), PlacedGate.of("fbs", "second", density=0.5, block=16), "inputs of second may be negative"),
        (RecurrentNet("gru", 4, SHAPE, hidden=24), PlacedGate.of("hmd", "rnn.0", factor=2), "rnn.0: "),
    ],
)
def test_a_gated_layer_that_has_no_form_in_int8_is_named(network, gate, reason):
    line = obstacle(network, gate)
    assert line is not None and line.startswith(f"stage 0: {reason}") and "\n" not in line
