"""One training of a study: anything that can be stepped, until it reaches the goal, ends, or blows up."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from gatesearch.batch_study.space import Config

BLOW_UP = 3.0  # times the first loss
SMOOTHING = 0.9  # of the loss that is held against it: one hard batch of eight is no divergence
RATIO, SPACING = 1.08, 0.0125  # between evaluations: of the step early on, of the budget later

State = Literal["reached", "ended", "diverged"]


class Learner(Protocol):
    """A training under way."""

    def step(self, learning_rate: float, momentum: float) -> float:
        """Take one step of SGD with Nesterov momentum on the next batch; return the batch's loss."""

    def error(self) -> float:
        """Return the validation error; less is better."""


class Problem(Protocol):
    """What a study studies.

    Attributes:
        samples: in the training split; no batch is larger.
    """

    samples: int

    def start(self, batch: int, seed: int) -> Learner:
        """Begin anew: weights, order of samples and all other chance depend on the seed alone."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of a training.

    Args:
        state: ``reached`` the goal; ``ended`` without it, at its last step; ``diverged``.
        steps: taken.
        curve: (step, validation error) of every evaluation.
    """

    state: State
    steps: int
    curve: tuple[tuple[int, float], ...]

    @property
    def to_goal(self) -> float:
        """Steps to the goal, infinite where it was not reached."""
        return self.steps if self.state == "reached" else math.inf

    @property
    def best(self) -> float:
        """The least error; infinite where the training diverged."""
        return math.inf if self.state == "diverged" else min(error for _, error in self.curve)


def train(
    problem: Problem,
    config: Config,
    *,
    batch: int,
    seed: int,
    budget: int,
    goal: float | None = None,
    limit: int | None = None,
) -> Ran:
    """Train until the goal, the limit, NaN, or a loss three times the first.

    Args:
        problem: what to train.
        config: how.
        batch: samples a step.
        seed: of all chance.
        budget: steps that the schedule of the rate is laid over.
        goal: validation error, reached at it or below; None to train on to the end.
        limit: last step; None for the budget.
    """
    learner = problem.start(batch, seed)
    last = min(budget, limit or budget)
    looks = evaluations(budget)
    look, first, smooth = next(looks), 0.0, 0.0
    curve: list[tuple[int, float]] = []
    for step in range(1, last + 1):
        loss = learner.step(config.learning_rate(step - 1, budget), config.momentum)
        first = loss if step == 1 else first
        smooth = loss if step == 1 else SMOOTHING * smooth + (1 - SMOOTHING) * loss
        if not math.isfinite(smooth) or smooth > BLOW_UP * abs(first):
            return Ran("diverged", step, tuple(curve))
        if step < look and step < last:
            continue
        look = next(looks, last)
        error = learner.error()
        if not math.isfinite(error):
            return Ran("diverged", step, tuple(curve))
        curve.append((step, error))
        if goal is not None and error <= goal:
            return Ran("reached", step, tuple(curve))
    return Ran("ended", last, tuple(curve))


def evaluations(budget: int) -> Iterator[int]:
    """Yield the steps after which the error is measured: every step, then ever rarer, then evenly.

    >>> list(evaluations(40))[-3:], len(list(evaluations(1000))), len(list(evaluations(100_000)))
    ([38, 39, 40], 117, 174)
    """
    step = 1
    while step < budget:
        yield step
        step += max(1, round(min((RATIO - 1) * step, SPACING * budget)))
    yield budget
