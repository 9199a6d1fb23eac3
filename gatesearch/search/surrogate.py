"""A Gaussian process for a few dozen observations: what a plan that was not tried would be worth, and how sure that is.

A linear kernel plus a Matern 5/2 kernel; the four hyperparameters are those of the largest marginal likelihood on a
small grid (Rasmussen and Williams 2006, chapters 2.2, 4.2 and 5.4).
"""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve, solve_triangular

Array = npt.NDArray[np.float64]

LENGTHS = (1.0, 2.0, 4.0)  # in standard deviations of a feature, times the square root of their number
LINEAR = (0.1, 1.0)  # variance of the linear part, that of the Matern part being 1
NOISE = (0.01, 0.1, 0.5)  # variance of an observation, on the same scale
LEAST_SPREAD = 1e-9


class Surrogate:
    """Fitted to features [n, d] and values [n].

    >>> x = np.linspace(0, 3, 12)[:, None]
    >>> surrogate = Surrogate(x, np.sin(x[:, 0]))
    >>> mean, deviation = surrogate(np.array([[1.5], [9.0]]))
    >>> bool(abs(mean[0] - np.sin(1.5)) < 0.05), bool(deviation[1] > 5 * deviation[0])
    (True, True)
    """

    def __init__(self, features: Array, values: Array) -> None:
        self._center, self._spread = features.mean(0), np.maximum(features.std(0), LEAST_SPREAD)
        # A feature that never varied says nothing: at its spread of almost none any change would be a world apart.
        self._alive = features.std(0) > LEAST_SPREAD
        self._mean, self._scale = float(values.mean()), max(float(values.std()), LEAST_SPREAD)
        self._known = self._scaled(features)
        targets = (values - self._mean) / self._scale
        distance, dot = _distances(self._known, self._known), self._known @ self._known.T
        width = max(1, int(self._alive.sum()))
        best = -np.inf
        for length, linear, noise in product(LENGTHS, LINEAR, NOISE):
            kernel = _matern(distance / (length * np.sqrt(width))) + linear / width * dot
            scale = float(np.diag(kernel).mean()) or 1.0  # so that noise is a share of what varies
            factor = cho_factor(kernel + noise * scale * np.eye(len(kernel)), lower=True)
            solved = cho_solve(factor, targets)
            amplitude = max(float(targets @ solved) / len(targets), LEAST_SPREAD)  # the best, in closed form
            likelihood = -0.5 * len(targets) * np.log(amplitude) - np.log(np.diag(factor[0])).sum()
            if likelihood > best:
                best, self._factor, self._solved = likelihood, factor, solved
                self._length, self._linear, self._amplitude = length * np.sqrt(width), linear / width, amplitude

    def __call__(self, features: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation [m] of the values at features [m, d], noise of observation left out."""
        asked = self._scaled(features)
        cross = _matern(_distances(asked, self._known) / self._length) + self._linear * asked @ self._known.T
        mean = cross @ self._solved
        own = 1.0 + self._linear * (asked**2).sum(1)
        reduced = solve_triangular(self._factor[0], cross.T, lower=True)
        variance = np.maximum(own - (reduced**2).sum(0), 0.0) * self._amplitude
        return mean * self._scale + self._mean, np.sqrt(variance) * self._scale

    def _scaled(self, features: Array) -> Array:
        return ((features - self._center) / self._spread)[:, self._alive]


def _distances(a: Array, b: Array) -> Array:
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    distances: Array = np.sqrt(np.maximum(squares, 0.0))
    return distances


def _matern(distance: Array) -> Array:
    root = np.sqrt(5) * distance
    kernel: Array = (1 + root + root**2 / 3) * np.exp(-root)
    return kernel
