"""The noisy quadratic model: a training problem whose critical batch size can be computed.

It is taken from Zhang et al. 2019, "Which algorithmic choices matter at which batch sizes?" (arXiv 1907.04164). The
loss is 1/2 sum h_i theta_i^2, with curvatures h_i and parameters theta_i. The noise of the gradient has a variance in
proportion to h_i / batch. The expected loss follows a linear recursion. So the number of steps that the best of
several configs needs can be computed without training.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gatesearch.batch_study.config import Config

SIZE, NOISE = 240, 0.1
CURVATURE = np.geomspace(1.0, 1 / 400, SIZE)
START = 1 / np.sqrt(SIZE * CURVATURE)  # initial parameters: a loss of 1/2, with an equal share of every direction


class NoisyQuadratic:
    """The training problem; ``samples`` stands in for the size of a training split."""

    def __init__(self, samples: int = 100_000) -> None:
        self.samples = samples
        self.steps = 0

    def start(self, batch: int, seed: int) -> Descent:
        return Descent(self, batch, seed)


class Descent:
    """One training of the problem by SGD with Nesterov momentum."""

    def __init__(self, problem: NoisyQuadratic, batch: int, seed: int) -> None:
        self.problem = problem
        self.rng = np.random.default_rng(seed)
        self.deviation = np.sqrt(NOISE * CURVATURE / batch)
        self.theta, self.speed = START, np.zeros(SIZE)

    def step(self, learning_rate: float, momentum: float) -> float:
        self.problem.steps += 1
        loss = self.error()
        gradient = CURVATURE * self.theta + self.deviation * self.rng.standard_normal(SIZE)
        self.speed = momentum * self.speed + gradient
        self.theta = self.theta - learning_rate * (gradient + momentum * self.speed)
        return loss

    def error(self) -> float:
        with np.errstate(over="ignore", invalid="ignore"):
            return float(0.5 * np.sum(CURVATURE * self.theta**2))


def expected_steps(configs: Sequence[Config], batch: int, goal: float, most: int) -> float:
    """Return the fewest steps after which the expected loss of any config reaches the goal; its learning rate is fixed.

    Each direction has the state x = (theta, speed) and the step x <- A x + b noise. A step replaces the second
    moments M = E[x x^T] by A M A^T + b b^T var(noise). In the code, tt, ts and ss are the entries of M.
    """
    rate = np.array([c.learning_rate(0, 1) for c in configs])[:, None]
    m = np.array([c.momentum for c in configs])[:, None]
    h = CURVATURE[None]
    a11, a12 = 1 - rate * (1 + m) * h, -rate * m * m
    a21, a22 = h + 0 * m, m + 0 * h
    noise = NOISE * h / batch
    b1, b2 = -rate * (1 + m), 1.0
    zero = np.zeros((len(configs), SIZE))
    tt, ts, ss = START**2 + zero, zero, zero
    with np.errstate(over="ignore", invalid="ignore"):
        for step in range(1, most + 1):
            tt, ts, ss = (
                a11**2 * tt + 2 * a11 * a12 * ts + a12**2 * ss + b1**2 * noise,
                a11 * a21 * tt + (a11 * a22 + a12 * a21) * ts + a12 * a22 * ss + b1 * b2 * noise,
                a21**2 * tt + 2 * a21 * a22 * ts + a22**2 * ss + b2**2 * noise,
            )
            if np.any(0.5 * np.sum(h * tt, 1) <= goal):
                return step
    return np.inf
