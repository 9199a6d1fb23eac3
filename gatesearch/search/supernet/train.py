"""How a supernet is trained: by the sandwich rule, from what the network without gates says."""

from __future__ import annotations

from random import Random
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gatesearch.search.sampler.neighbours import Candidates, Gates
from gatesearch.search.space import Space
from gatesearch.search.supernet.network import Supernet, strongest
from gatesearch.training.task import Batch, GatedTask
from gatesearch.training.tensors import channels_last

LABELS = 0.5  # weight of the labels beside what the whole network says


class SupernetTask(GatedTask):
    """Each step: no gates, a gate at every site, and some plans at random, all on the same batch.

    The network without gates learns from the labels; all others from what it says and from the labels, gates by their
    own losses.

    Args:
        *args, **settings: as of :class:`gatesearch.training.task.GatedTask`; the model is a :class:`Supernet`.
        space: of the plans.
        plans: random ones a step.
        seed: of the plans; those of a step depend on it and on the number of the step alone.
    """

    def __init__(self, *args: Any, space: Space, plans: int, seed: int, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._space, self._plans, self._seed = space, plans, seed
        self._candidates = Candidates(space)

    def drawn(self, step: int) -> list[Gates]:
        """Return the gates of a step, a plan each: at every site, then random ones."""
        dice = Random(self._seed * 1_000_003 + step)
        every = strongest(self._space, dice)
        return [every, *(gates for gates in self._candidates.evenly(self._plans, dice) if gates)]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step on features [N, *shape] and labels [N]."""
        features, labels = batch
        with torch.no_grad():
            features = channels_last(self.augment(features))
        net = self.model
        assert isinstance(net, Supernet)
        whole = net(features).logits
        loss = self.goal.loss(whole, features, labels, self.schedule)
        taught = whole.detach().softmax(1)
        for gates in self.drawn(self.trainer.global_step):
            output = net(features, gates)
            loss = loss + F.cross_entropy(output.logits, taught)
            loss = loss + LABELS * self.goal.loss(output.logits, features, labels, self.schedule)
            loss = loss + self.gate_losses([net.turned(placed) for placed in gates], output, features, labels)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(labels))
        return loss
