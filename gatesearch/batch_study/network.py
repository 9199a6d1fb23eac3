"""A recipe's backbone as the problem of a study: the recipe's data, augmentation and loss, without gates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from gatesearch import backbones
from gatesearch._lib.tensors import channels_last
from gatesearch.batch_study import ghost
from gatesearch.model import GatedModel
from gatesearch.pipeline.problem import Problem as RecipeProblem
from gatesearch.plan import GatePlan
from gatesearch.training import GatedTask
from gatesearch.training.cascade import EVALUATION_BATCH
from gatesearch.training.features import Batches
from gatesearch.training.fit import class_weights

SETTLED_ON = 256  # training samples that evaluation takes its normalisation from


class Network:
    """The ungated backbone of a recipe, trained from scratch.

    Args:
        setting: of the recipe.
        ghost: samples that are normalised together; only where the backbone normalises over the batch.
        micro: samples that are computed at once; gradients of a larger batch are added up.
    """

    def __init__(self, setting: RecipeProblem, ghost: int, micro: int) -> None:
        self.setting, self.ghost, self.micro = setting, ghost, micro
        self.samples = len(setting.features.labels)
        features = setting.features.train.features
        chosen = torch.randperm(len(features), generator=torch.Generator().manual_seed(setting.recipe.seed))
        self.settled_on = [channels_last(part) for part in features[chosen[:SETTLED_ON]].split(EVALUATION_BATCH)]

    @property
    def normalises(self) -> bool:
        """Whether the backbone normalises over the batch."""
        return bool(ghost.norms(self.setting.backbone))

    def start(self, batch: int, seed: int) -> NetworkLearner:
        """Begin anew."""
        return NetworkLearner(self, batch, seed)


class NetworkLearner:
    """One training of a :class:`Network`, step by step and without Lightning's loop, which costs as much as a step."""

    def __init__(self, problem: Network, batch: int, seed: int) -> None:
        s = problem.setting
        self.problem = problem
        pl.seed_everything(seed, verbose=False)
        backbone = backbones.build(
            s.recipe.backbone,
            num_classes=len(s.data.classes),
            input_shape=s.features.shape,
            args=s.recipe.backbone_args,
        )
        self.model = GatedModel(backbone, GatePlan(), s.sites, s.outputs)
        ghost.convert(self.model, problem.ghost)
        weights = class_weights(s.features, s.gates.shares)
        self.task = GatedTask(self.model, s.goal, s.features.positive, weights, s.schedule(), s.gates, s.augment)
        self.task.log = _nowhere  # type: ignore[method-assign]
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.0, momentum=0.9, nesterov=True)
        self.batches = _endless(Batches(s.features, batch))

    def step(self, learning_rate: float, momentum: float) -> float:
        """Take one step on the next batch; return its loss."""
        for group in self.optimizer.param_groups:
            group.update(lr=learning_rate, momentum=momentum, nesterov=momentum > 0)
        self.task.train()
        features, labels = next(self.batches)
        self.optimizer.zero_grad()
        total = 0.0
        for part in zip(features.split(self.problem.micro), labels.split(self.problem.micro), strict=True):
            loss = self.task.training_step(part, 0) * (len(part[1]) / len(labels))
            loss.backward()
            total += float(loss.detach())
        self.optimizer.step()
        return total

    @torch.no_grad()
    def error(self) -> float:
        """Return what the validation split lacks of full quality; of classes, the share that is given a wrong one."""
        s = self.problem.setting
        split = s.features.validation
        ghost.settle(self.model, self.problem.settled_on)
        pairs = zip(split.features.split(EVALUATION_BATCH), split.labels.split(EVALUATION_BATCH), strict=True)
        scores = [
            torch.stack(s.goal.scores(self.model(channels_last(x)).logits, x, y)).double().sum(1) for x, y in pairs
        ]
        reached, possible = torch.stack(scores).sum(0).tolist()
        return (possible - reached) / possible


def _endless(batches: Batches) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        yield from batches


def _nowhere(*args: Any, **kwargs: Any) -> None:
    """Take the place of Lightning's log, which wants a trainer."""
