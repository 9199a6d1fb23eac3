"""The moving average of a training's weights equals the one of Lightning's own callback, bit for bit."""

from __future__ import annotations

import copy
import math
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_lightning.callbacks import EMAWeightAveraging
from torch import nn

from gatesearch.training.averaging import MovingAverage


class Module(pl.LightningModule):
    """Weights, a shared weight, running statistics, an infinite threshold, and a buffer that each step replaces."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight
        self.register_buffer("theta", torch.tensor(-math.inf))
        self.register_buffer("replaced", torch.zeros(2))

    def change(self) -> None:
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.add_(torch.randn_like(parameter))
        self.norm(torch.randn(4, 3))
        self.replaced = torch.randn(2)


@given(seed=st.integers(0, 2**31), decay=st.floats(0.01, 0.999), steps=st.integers(1, 5))
@settings(max_examples=25, deadline=None)
def test_the_average_has_the_bits_of_lightnings_callback(seed: int, decay: float, steps: int):
    torch.manual_seed(seed)
    module, results = Module(), []
    states = [copy.deepcopy(module)]
    for _ in range(steps):
        module.change()
        states.append(copy.deepcopy(module))
    for callback in (MovingAverage(decay), EMAWeightAveraging(decay=decay)):
        trained, trainer = copy.deepcopy(states[0]), SimpleNamespace(global_step=0)
        callback.setup(trainer, trained, "fit")
        callback.on_train_start(trainer, trained)
        for state in states[1:]:
            trained.load_state_dict(state.state_dict())
            trained.replaced = state.replaced.clone()
            trainer.global_step += 1
            callback.on_train_batch_end(trainer, trained, None, None, 0)
            callback.on_train_batch_end(trainer, trained, None, None, 1)  # no step of the optimiser: not averaged
        callback.on_train_end(trainer, trained)
        results.append((trained.state_dict(), callback.state_dict()))
    (own, own_state), (reference, state) = results
    assert own_state == state
    for name, value in reference.items():
        if value.is_floating_point():
            assert torch.equal(own[name], value), name
    assert own["norm.num_batches_tracked"] == steps


@pytest.mark.parametrize("decay", [0.5, 0.9])
def test_an_infinite_threshold_stays_infinite(decay: float):
    module, callback, trainer = Module(), MovingAverage(decay), SimpleNamespace(global_step=0)
    callback.setup(trainer, module, "fit")
    callback.on_train_start(trainer, module)
    for _ in range(3):
        trainer.global_step += 1
        callback.on_train_batch_end(trainer, module, None, None, 0)
    callback.on_train_end(trainer, module)
    assert module.theta == -math.inf
