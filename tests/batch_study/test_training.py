"""Tests of one training of a batch-size study: it reaches the goal, misses it, or diverges."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest

from gatesearch.batch_study.config import Config
from gatesearch.batch_study.training import TrainingResult, evaluation_steps, train

STEADY = Config(rate=1.0, slack=0.5, decay=1.0, end=1.0)


class Scripted:
    """A problem with losses and errors that are functions of the step; it records learning rates and momenta."""

    samples = 100

    def __init__(self, loss: Callable[[int], float], error: Callable[[int], float]) -> None:
        self.loss, self.error_at = loss, error
        self.rates: list[tuple[float, float]] = []

    def start(self, batch: int, seed: int) -> Scripted:
        self.rates.clear()
        return self

    def step(self, learning_rate: float, momentum: float) -> float:
        self.rates.append((learning_rate, momentum))
        return self.loss(len(self.rates))

    def error(self) -> float:
        return self.error_at(len(self.rates))


def run(problem: Scripted, config: Config = STEADY, **options: int | float | None) -> TrainingResult:
    return train(problem, config, **{"batch": 8, "seed": 0, "budget": 50, **options})  # type: ignore[arg-type]


def test_a_training_ends_at_the_first_evaluation_that_reaches_the_goal() -> None:
    problem = Scripted(lambda step: 1.0, lambda step: 1.0 / step)
    result = run(problem, goal=0.1)
    assert (result.state, result.steps, result.steps_to_goal) == ("reached", 10, 10)
    assert result.curve[-1] == (10, 0.1)


def test_a_training_that_misses_the_goal_is_censored_at_its_last_step() -> None:
    problem = Scripted(lambda step: 1.0, lambda step: 1.0)
    result = run(problem, goal=0.1)
    assert (result.state, result.steps, result.steps_to_goal) == ("ended", 50, math.inf)
    cut = run(problem, goal=0.1, limit=7)
    assert (cut.state, cut.steps) == ("ended", 7) and cut.curve[-1][0] == 7


def test_the_rate_falls_over_the_budget_not_over_the_limit() -> None:
    problem = Scripted(lambda step: 1.0, lambda step: 1.0)
    falling = Config(rate=2.0, slack=0.25, decay=0.5, end=0.1)
    run(problem, falling, budget=40, limit=11)
    assert problem.rates[0] == (0.5, 0.75)
    assert problem.rates[10] == (pytest.approx(0.5 * (1 - 0.9 * 10 / 20)), 0.75)
    run(problem, falling, budget=40)
    assert problem.rates[-1][0] == pytest.approx(0.05)


@pytest.mark.parametrize(
    "loss", [lambda step: math.nan if step > 4 else 1.0, lambda step: 2.0**step, lambda step: math.inf]
)
def test_nan_and_a_loss_of_three_times_the_first_are_divergence(loss: Callable[[int], float]) -> None:
    result = run(Scripted(loss, lambda step: 1.0))
    assert result.state == "diverged" and result.steps < 50 and result.best_error == math.inf


def test_one_batch_with_a_large_loss_is_not_divergence() -> None:
    assert run(Scripted(lambda step: 6.0 if step == 9 else 1.0, lambda step: 1.0)).state == "ended"


def test_an_error_of_nan_is_divergence() -> None:
    assert run(Scripted(lambda step: 1.0, lambda step: math.nan)).state == "diverged"


@pytest.mark.parametrize("budget", [1, 2, 13, 500, 20_000])
def test_evaluations_are_frequent_early_and_at_least_every_eightieth_of_the_steps(budget: int) -> None:
    looks = list(evaluation_steps(budget))
    gaps = [b - a for a, b in itertools.pairwise(looks)]
    assert looks[0] == 1 and looks[-1] == budget and min(gaps, default=1) >= 1
    assert max(gaps, default=1) <= max(1, round(budget / 80))
    assert looks[: min(5, budget)] == list(range(1, min(5, budget) + 1))
