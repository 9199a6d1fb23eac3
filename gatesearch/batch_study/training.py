"""Runs one training of a batch-size study until it reaches the goal, ends without it, or diverges."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from gatesearch.batch_study.config import Config

DIVERGENCE_FACTOR = 3.0  # a training diverges if its smoothed loss exceeds this multiple of its first loss
LOSS_SMOOTHING = 0.9  # weight of the past in the smoothed loss; without it, one hard batch could count as divergence
# The number of steps between two evaluations is a share of the current step early on, and of the step budget later.
EVALUATION_RATIO, EVALUATION_SPACING = 1.08, 0.0125

State = Literal["reached", "ended", "diverged"]


class Learner(Protocol):
    """A training in progress."""

    def step(self, learning_rate: float, momentum: float) -> float:
        """Take one step of SGD with Nesterov momentum on the next batch; return the batch's loss."""

    def error(self) -> float:
        """Return the validation error; a lower error is better."""


class TrainingProblem(Protocol):
    """A problem that a study trains.

    Attributes:
        samples: number of samples in the training split; no batch is larger.
    """

    samples: int

    def start(self, batch: int, seed: int) -> Learner:
        """Start a training; weights, order of samples and all other random choices depend on the seed alone."""


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """How a training ended.

    Args:
        state: ``reached`` (the goal), ``ended`` (at its last step, without the goal) or ``diverged``.
        steps: number of steps that the training took.
        curve: (step, validation error) of every evaluation.
    """

    state: State
    steps: int
    curve: tuple[tuple[int, float], ...]

    @property
    def steps_to_goal(self) -> float:
        """Steps to the goal; infinite for a training that did not reach it."""
        return self.steps if self.state == "reached" else math.inf

    @property
    def best_error(self) -> float:
        """The least validation error; infinite for a training that diverged."""
        return math.inf if self.state == "diverged" else min(error for _, error in self.curve)


def train(
    problem: TrainingProblem,
    config: Config,
    *,
    batch: int,
    seed: int,
    budget: int,
    goal: float | None = None,
    limit: int | None = None,
) -> TrainingResult:
    """Train until the goal, the last step, or a divergence.

    A training diverges if its smoothed loss exceeds three times its first loss, or if a loss or an error is not finite.

    Args:
        problem: the problem to train.
        config: learning rate, momentum and decay.
        batch: number of samples in each step.
        seed: the seed of all random choices.
        budget: steps over which the learning rate is scheduled.
        goal: validation error to reach, equal or below; None to train to the end.
        limit: last step; None for the budget.
    """
    learner = problem.start(batch, seed)
    last = min(budget, limit or budget)
    evaluations = evaluation_steps(budget)
    next_evaluation = next(evaluations)
    first_loss = smooth_loss = 0.0
    curve: list[tuple[int, float]] = []
    for step in range(1, last + 1):
        loss = learner.step(config.learning_rate(step - 1, budget), config.momentum)
        if step == 1:
            first_loss = smooth_loss = loss
        else:
            smooth_loss = LOSS_SMOOTHING * smooth_loss + (1 - LOSS_SMOOTHING) * loss
        if not math.isfinite(smooth_loss) or smooth_loss > DIVERGENCE_FACTOR * abs(first_loss):
            return TrainingResult("diverged", step, tuple(curve))
        if step < next_evaluation and step < last:
            continue
        next_evaluation = next(evaluations, last)
        error = learner.error()
        if not math.isfinite(error):
            return TrainingResult("diverged", step, tuple(curve))
        curve.append((step, error))
        if goal is not None and error <= goal:
            return TrainingResult("reached", step, tuple(curve))
    return TrainingResult("ended", last, tuple(curve))


def evaluation_steps(budget: int) -> Iterator[int]:
    """Yield the steps after which the error is measured: first each step, then ever fewer, then evenly spaced ones.

    >>> steps = list(evaluation_steps(40))
    >>> steps[-3:], len(list(evaluation_steps(1000))), len(list(evaluation_steps(100_000)))
    ([38, 39, 40], 117, 174)
    """
    step = 1
    while step < budget:
        yield step
        step += max(1, round(min((EVALUATION_RATIO - 1) * step, EVALUATION_SPACING * budget)))
    yield budget
