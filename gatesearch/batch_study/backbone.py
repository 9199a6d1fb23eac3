"""Trains the ungated backbone of a recipe step by step, for a batch-size study."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from gatesearch import backbones
from gatesearch._lib.tensors import channels_last
from gatesearch.batch_study import ghost_norm
from gatesearch.model import GatedModel
from gatesearch.pipeline.problem import Problem
from gatesearch.plan import GatePlan
from gatesearch.training import GatedTask
from gatesearch.training.cascade import EVALUATION_BATCH
from gatesearch.training.features import Batches
from gatesearch.training.fit import class_weights

STATISTICS_SAMPLES = 256  # training samples on which mean and variance of each normalisation are measured


class BackboneTraining:
    """The ungated backbone of a recipe, trained from scratch, as a ``TrainingProblem``.

    Args:
        problem: data, network and loss of the recipe.
        ghost_size: number of samples that a batch normalisation of the backbone normalises together.
        micro_batch: number of samples that are computed at once. A larger batch is computed in several parts, whose
            gradients are added up.
    """

    def __init__(self, problem: Problem, ghost_size: int, micro_batch: int) -> None:
        self.problem, self.ghost_size, self.micro_batch = problem, ghost_size, micro_batch
        self.samples = len(problem.features.labels)
        features = problem.features.train.features
        order = torch.randperm(len(features), generator=torch.Generator().manual_seed(problem.recipe.seed))
        chosen = features[order[:STATISTICS_SAMPLES]]
        self.statistics_batches = [channels_last(part) for part in chosen.split(EVALUATION_BATCH)]

    @property
    def has_batch_norm(self) -> bool:
        """Whether the backbone normalises over the batch."""
        return bool(ghost_norm.find_norms(self.problem.backbone))

    def start(self, batch: int, seed: int) -> BackboneLearner:
        """Start a training from new weights."""
        return BackboneLearner(self, batch, seed)


class BackboneLearner:
    """One training of a backbone, step by step; Lightning's loop would double the time of a step."""

    def __init__(self, training: BackboneTraining, batch: int, seed: int) -> None:
        problem = training.problem
        self.training = training
        pl.seed_everything(seed, verbose=False)
        backbone = backbones.build(
            problem.recipe.backbone,
            num_classes=len(problem.data.classes),
            input_shape=problem.features.shape,
            args=problem.recipe.backbone_args,
        )
        self.model = GatedModel(backbone, GatePlan(), problem.sites, problem.outputs)
        ghost_norm.use_ghost_norms(self.model, training.ghost_size)
        self.task = GatedTask(
            self.model,
            problem.goal,
            problem.features.positive,
            class_weights(problem.features, problem.gates.shares),
            problem.schedule(),
            problem.gates,
            problem.augment,
        )
        self.task.log = _ignore_log  # type: ignore[method-assign]
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.0, momentum=0.9, nesterov=True)
        self.batches = _repeat(Batches(problem.features, batch))

    def step(self, learning_rate: float, momentum: float) -> float:
        """Take one step on the next batch; return the batch's loss."""
        for group in self.optimizer.param_groups:
            group.update(lr=learning_rate, momentum=momentum, nesterov=momentum > 0)
        self.task.train()
        features, labels = next(self.batches)
        self.optimizer.zero_grad()
        micro_batch = self.training.micro_batch
        total = 0.0
        for part in zip(features.split(micro_batch), labels.split(micro_batch), strict=True):
            # Each loss is a mean over its part. The factor, the part's share of the batch, makes the sum of all losses
            # the mean over the batch.
            loss = self.task.training_step(part, 0) * (len(part[1]) / len(labels))
            loss.backward()
            total += float(loss.detach())
        self.optimizer.step()
        return total

    @torch.no_grad()
    def error(self) -> float:
        """Return 1 - quality on the validation split; for a classifier, this is the share of wrong answers."""
        problem = self.training.problem
        split = problem.features.validation
        ghost_norm.measure_statistics(self.model, self.training.statistics_batches)
        scores = []
        for x, y in zip(split.features.split(EVALUATION_BATCH), split.labels.split(EVALUATION_BATCH), strict=True):
            outputs = self.model(channels_last(x)).logits
            scores.append(torch.stack(problem.goal.scores(outputs, x, y)).double().sum(1))
        reached, possible = torch.stack(scores).sum(0).tolist()
        return (possible - reached) / possible


def _repeat(batches: Batches) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        yield from batches


def _ignore_log(*args: Any, **kwargs: Any) -> None:
    """Stand in for Lightning's log, which needs a trainer."""
