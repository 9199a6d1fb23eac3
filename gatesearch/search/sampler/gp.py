"""A Gaussian process for some dozens of observations: what is to be expected where nothing was tried, and how surely.

A linear kernel plus a Matern 5/2 kernel; the three hyperparameters are those of the largest marginal likelihood on a
small grid (Rasmussen and Williams 2006, chapters 2.2, 4.2 and 5.4). Several quantities observed at the same places
share them, and the factorisation.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve, solve_triangular

Array = npt.NDArray[np.float64]
Hyperparameters = dict[int, tuple[float, float, float]]  # length, linear variance, noise, by number of observations

LENGTHS = (0.5, 1.0, 2.0)  # in standard deviations of a feature, times the square root of their number
LINEAR = (0.1, 1.0)  # variance of the linear part, that of the Matern part being 1
NOISE = (0.001, 0.03, 0.3)  # variance of an observation, on the same scale
LEAST_SPREAD = 1e-9
EVERY = 1.5  # hyperparameters are looked for anew when there are so many times more observations


class Surrogate:
    """Fitted to features [n, d] and values [n, t].

    Hyperparameters are those of the first observations, as many as a whole power of :data:`EVERY` allows: so they are
    looked for seldom, and yet depend on nothing but the observations in their order.

    >>> x = np.linspace(0, 3, 12)[:, None]
    >>> surrogate = Surrogate(x, np.sin(x))
    >>> mean, deviation = surrogate(np.array([[1.5], [9.0]]))
    >>> bool(abs(mean[0, 0] - np.sin(1.5)) < 0.05), bool(deviation[1, 0] > 5 * deviation[0, 0])
    (True, True)

    Args:
        features: [n, d].
        values: [n, t].
        known: hyperparameters by number of observations, from surrogates of the same observations; added to.
    """

    def __init__(self, features: Array, values: Array, known: Hyperparameters | None = None):
        known = {} if known is None else known
        few = _rounded(len(features))
        if few not in known:
            known[few] = _likeliest(features[:few], values[:few])
        self._scale = _Scale(features, values)
        self._known = self._scale.features(features)
        self._kernel = _Kernel(*known[few], width=self._known.shape[1])
        gram = self._kernel.gram(self._known)
        self._factor = cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
        targets = self._scale.values(values)
        self._solved = cho_solve(self._factor, targets, check_finite=False)
        self._amplitude = np.maximum((targets * self._solved).mean(0), LEAST_SPREAD)  # the best, in closed form

    def __call__(self, features: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation [m, t] of the values at features [m, d], noise left out."""
        asked = self._scale.features(features)
        cross = self._kernel(asked, self._known)
        mean = cross @ self._solved
        reduced = solve_triangular(self._factor[0], cross.T, lower=True, check_finite=False)
        variance = np.maximum(self._kernel.own(asked) - (reduced**2).sum(0), 0.0)[:, None] * self._amplitude
        return mean * self._scale.spread + self._scale.mean, np.sqrt(variance) * self._scale.spread


class _Scale:
    """Mean 0 and standard deviation 1, for features and values."""

    def __init__(self, features: Array, values: Array) -> None:
        deviation = features.std(0)
        self._center = features.mean(0)
        # A feature that never varied says nothing: at its spread of almost none any change would be a world apart.
        self._alive = deviation > LEAST_SPREAD
        self._spread = np.maximum(deviation, LEAST_SPREAD)
        self.mean, self.spread = values.mean(0), np.maximum(values.std(0), LEAST_SPREAD)

    def features(self, features: Array) -> Array:
        return ((features - self._center) / self._spread)[:, self._alive]

    def values(self, values: Array) -> Array:
        scaled: Array = (values - self.mean) / self.spread
        return scaled


class _Kernel:
    def __init__(self, length: float, linear: float, noise: float, width: int) -> None:
        self._length = length * np.sqrt(max(1, width))
        self._linear, self._noise = linear / max(1, width), noise

    def __call__(self, a: Array, b: Array) -> Array:
        root = np.sqrt(5) / self._length * _distances(a, b)
        kernel: Array = (1 + root + root**2 / 3) * np.exp(-root) + self._linear * a @ b.T
        return kernel

    def own(self, a: Array) -> Array:
        variance: Array = 1.0 + self._linear * (a**2).sum(1)
        return variance

    def gram(self, a: Array) -> Array:
        gram = self(a, a)
        scale = float(np.diag(gram).mean()) or 1.0  # so that noise is a share of what varies
        gram[np.diag_indices_from(gram)] += self._noise * scale
        return gram


def _likeliest(features: Array, values: Array) -> tuple[float, float, float]:
    scale = _Scale(features, values)
    known, targets = scale.features(features), scale.values(values)
    best, found = -np.inf, (LENGTHS[0], LINEAR[0], NOISE[0])
    for length, linear, noise in product(LENGTHS, LINEAR, NOISE):
        gram = _Kernel(length, linear, noise, known.shape[1]).gram(known)
        factor = cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
        solved = cho_solve(factor, targets, check_finite=False)
        amplitude = np.maximum((targets * solved).mean(0), LEAST_SPREAD)
        halves = np.log(np.diag(factor[0])).sum()
        likelihood = float((-0.5 * len(known) * np.log(amplitude) - halves).sum())
        if likelihood > best:
            best, found = likelihood, (length, linear, noise)
    return found


def _rounded(count: int) -> int:
    few = 4.0
    while few * EVERY <= count:
        few *= EVERY
    return min(count, int(few))


def _distances(a: Array, b: Array) -> Array:
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    distances: Array = np.sqrt(np.maximum(squares, 0.0))
    return distances
