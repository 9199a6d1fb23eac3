"""The moving average of the weights; a training returns this average as its result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor, nn

MIN_WINDOWS = 10  # the average reaches back over at most 1 / MIN_WINDOWS of a training


def averaging_decay(decay: float, steps: int) -> float:
    """Return the decay d of the moving average in a training of ``steps`` steps.

    After each step, the average a of the weights w becomes d a + (1 - d) w. The average covers a window of about
    1 / (1 - d) steps. It starts from the weights after the first step, which have a share d^(steps - 1) in the result.

    In a training shorter than ten windows, this share would be large. So such a training gets a window of a tenth of
    its steps. The weights after the first step then have a share below exp(-10) in the result. All weights of the first
    half of the training, where the learning rate is high, have together a share below exp(-5). A longer training uses
    the decay of its recipe.

    Args:
        decay: d for a long training, in [0, 1).
        steps: number of optimiser steps of the whole training.

    >>> averaging_decay(0.99, 2000), averaging_decay(0.99, 80), averaging_decay(0.99, 4)
    (0.99, 0.875, 0.0)
    """
    return min(decay, max(0.0, 1 - MIN_WINDOWS / max(1, steps)))


class MovingAverage(WeightAveraging):
    """Averages weights and running statistics over the steps of a training, and ends with the average as the weights.

    Lightning's callback swaps, stores and loads the average. Its own update searches all modules for their tensors in
    each step. That takes 5 ms, a third of a step of a small network. This class searches them once.

    Args:
        decay: d of the average, as :func:`averaging_decay` returns it.
    """

    def __init__(self, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self._floats: list[_Place] = []
        self._counts: list[_Place] = []  # the places of all other tensors

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """List the places of the tensors."""
        assert self._average_model is not None
        places = list(_places(self._average_model.module, pl_module))
        self._floats = [place for place in places if place.average.is_floating_point()]
        self._counts = [place for place in places if not place.average.is_floating_point()]

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the weights after a step to their average; counts, which have no mean, take the latest value."""
        if trainer.global_step <= self._latest_update_step:
            return  # the batch ended without a step of the optimiser
        assert self._average_model is not None
        averages, weights = [place.average for place in self._floats], [place.value for place in self._floats]
        if self._latest_update_step == 0:
            torch._foreach_copy_(averages, weights)
        else:
            # Not as one interpolation, a + (1 - d) (w - a): for a threshold of -inf, the difference is not a number.
            torch._foreach_mul_(averages, self.decay)
            torch._foreach_add_(averages, torch._foreach_mul(weights, 1 - self.decay))
        for place in self._counts:
            place.average.copy_(place.value)
        self._average_model.n_averaged += 1
        self._latest_update_step = trainer.global_step


class _Place(NamedTuple):
    """A tensor's average, and where its module holds the tensor, because a module may put another one there."""

    average: Tensor
    tensors: Mapping[str, Tensor]
    name: str

    @property
    def value(self) -> Tensor:
        return self.tensors[self.name]


def _places(average: nn.Module, module: nn.Module) -> Iterator[_Place]:
    """Yield the place of each parameter and buffer of a module; a tensor with several places has one of them."""
    listed = set()
    for mean, own in zip(average.modules(), module.modules(), strict=True):
        for means, tensors in ((mean._parameters, own._parameters), (mean._buffers, own._buffers)):
            for name, tensor in tensors.items():
                if tensor is not None and id(tensor) not in listed:
                    listed.add(id(tensor))
                    yield _Place(cast(Tensor, means[name]), cast(Mapping[str, Tensor], tensors), name)
