"""ReLUs that overwrite batch normalisations in a training change no bit, and no ReLU stays in place after it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gatesearch.backbones.ds_cnn import DSCNN
from gatesearch.graph.sites import cut_sites
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.training.in_place import activations_in_place


class Readers(nn.Module):
    """Batch normalisations that a ReLU reads alone, that another operation reads too, and that share a ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(2) for _ in range(4))
        self.alone, self.bounded, self.second, self.shared = nn.ReLU(), nn.ReLU6(), nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        first, second, third, fourth = (norm(x) for norm in self.norms)
        x = self.alone(first) + self.bounded(second) + self.second(third) * third
        return (self.shared(fourth) + self.shared(x)).mean((2, 3))


def in_place(model: nn.Module) -> list[str]:
    return sorted({name for name, module in model.named_modules() if getattr(module, "inplace", False)})


def test_only_a_relu_that_alone_reads_a_normalisation_writes_in_place():
    network = Readers()
    model = GatedModel(network, GatePlan(), cut_sites(network, torch.zeros(1, 2, 4, 4)), 2)
    with activations_in_place(model):
        assert in_place(model) == ["stages.0.alone", "stages.0.bounded"]
    assert in_place(model) == []


@pytest.mark.parametrize("gates", [(), (PlacedGate.of("gc", "blocks.0", keep=0.5),)])
def test_gradients_and_running_statistics_are_the_same_bits(gates: tuple[PlacedGate, ...]):
    torch.manual_seed(0)
    network, inputs = DSCNN(3, (1, 12, 6), width=8, blocks=2, dropout=0.0), torch.randn(6, 1, 12, 6)
    sites = cut_sites(network, inputs[:1])
    plain, writing = (GatedModel(network, GatePlan(gates), sites, 3).train() for _ in range(2))
    writing.load_state_dict(plain.state_dict())
    loss = plain(inputs).logits.square().sum()
    loss.backward()
    with activations_in_place(writing):
        assert len(in_place(writing)) == 5
        same = writing(inputs).logits.square().sum()
        same.backward()
    assert torch.equal(loss, same)
    for one, other in zip(plain.parameters(), writing.parameters(), strict=True):
        assert (one.grad is None and other.grad is None) or torch.equal(one.grad, other.grad)
    for one, other in zip(plain.buffers(), writing.buffers(), strict=True):
        assert torch.equal(one, other)
