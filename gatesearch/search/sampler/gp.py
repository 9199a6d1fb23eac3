"""A Gaussian process that predicts means and deviations from at most a few hundred observations.

The kernel is linear plus Matern 5/2. The linear part extends trends to the whole space, and the Matern part corrects
these trends near observations. The kernel has three hyperparameters. A search of a small grid sets them to the values
with the largest marginal likelihood (Rasmussen and Williams 2006, "Gaussian Processes for Machine Learning", sections
2.2, 4.2 and 5.4). A grid needs no gradients and always gives the same result. Several quantities that are observed at
the same plans share the hyperparameters and the factorisation of the kernel matrix, which takes most of the time.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve, solve_triangular

Array = npt.NDArray[np.float64]
Hyperparameters = tuple[float, float, float]  # length scale, linear variance, noise variance
FitCache = dict[int, Hyperparameters]  # fitted hyperparameters, by the number of observations of the fit

LENGTH_SCALES = (0.5, 1.0, 2.0)  # in standard deviations of a feature, times the square root of the number of features
LINEAR_VARIANCES = (0.1, 1.0)  # variance of the linear part; the Matern part has a variance of 1
NOISE_VARIANCES = (0.001, 0.03, 0.3)  # noise variance of an observation, as a share of the kernel's mean variance
MIN_SPREAD = 1e-9  # lower bound of standard deviations and amplitudes
MAX_OBSERVATIONS = 256  # more observations hardly change predictions, and time grows with the cube of their number
REFIT_GROWTH = 1.5  # hyperparameters are fitted anew when the number of observations has grown by this factor


class GaussianProcess:
    """A Gaussian process that is fitted to n observations of t quantities, at plans with d features.

    Hyperparameters are fitted to the first observations alone. The number of these observations is the largest of
    4, 4 * 1.5, 4 * 1.5^2, ... that is at most n; see :data:`REFIT_GROWTH`. So the hyperparameters are fitted seldom,
    and they depend only on the observations and their order.

    >>> x = np.linspace(0, 3, 12)[:, None]
    >>> process = GaussianProcess(x, np.sin(x))
    >>> mean, deviation = process.predict(np.array([[1.5], [9.0]]))
    >>> bool(abs(mean[0, 0] - np.sin(1.5)) < 0.05), bool(deviation[1, 0] > 5 * deviation[0, 0])
    (True, True)

    Args:
        features: the features of the observed plans, [n, d].
        values: the observed quantities, [n, t].
        fits: hyperparameters of earlier fits to the same observations; a new fit is added.
        read_first: a function that returns features and values of the first observations; None: ``features`` and
            ``values`` hold all observations in their order.
    """

    def __init__(
        self,
        features: Array,
        values: Array,
        fits: FitCache | None = None,
        read_first: Callable[[], tuple[Array, Array]] | None = None,
    ) -> None:
        fits = {} if fits is None else fits
        count = _round_down(len(features))
        if count not in fits:
            first_features, first_values = (features, values) if read_first is None else read_first()
            fits[count] = _most_likely(first_features[:count], first_values[:count])
        self._scale = _Scale(features, values)
        self._observed = self._scale.scale_features(features)
        self._kernel = _Kernel(*fits[count], width=self._observed.shape[1])
        # The Cholesky factor of the kernel matrix K gives the weights K^-1 y, from which means follow.
        gram = self._kernel.gram(self._observed)
        self._factor = cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
        targets = self._scale.scale_values(values)
        self._weights = cho_solve(self._factor, targets, check_finite=False)
        self._amplitude = _amplitude(targets, self._weights)

    def predict(self, features: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation [m, t] of the values at features [m, d], without observation noise.

        The formulas are those of Rasmussen and Williams (2006, algorithm 2.1). K [n, n] is the kernel matrix of the
        observations with their noise, L is the lower Cholesky factor of K, and y [n] is one observed quantity. For a
        new plan x, k [1, n] is the kernel between x and the observations, and k(x, x) the kernel of x with itself. The
        mean is k K^-1 y. The variance is k(x, x) - |L^-1 k'|^2, times the amplitude of the quantity.
        """
        scaled = self._scale.scale_features(features)
        cross = self._kernel(scaled, self._observed)
        mean = cross @ self._weights
        reduced = solve_triangular(self._factor[0], cross.T, lower=True, check_finite=False)
        variance = np.maximum(self._kernel.diagonal(scaled) - (reduced**2).sum(0), 0.0)[:, None] * self._amplitude
        return mean * self._scale.spread + self._scale.mean, np.sqrt(variance) * self._scale.spread


class _Scale:
    """Scales features and values to mean 0 and standard deviation 1."""

    def __init__(self, features: Array, values: Array) -> None:
        deviation = features.std(0)
        self._center = features.mean(0)
        # A feature that never varied is left out. Its spread is almost 0, and a division by it would make any change
        # enormous.
        self._varies = deviation > MIN_SPREAD
        self._spread = np.maximum(deviation, MIN_SPREAD)
        self.mean, self.spread = values.mean(0), np.maximum(values.std(0), MIN_SPREAD)

    def scale_features(self, features: Array) -> Array:
        return ((features - self._center) / self._spread)[:, self._varies]

    def scale_values(self, values: Array) -> Array:
        scaled: Array = (values - self.mean) / self.spread
        return scaled


class _Kernel:
    """The kernel, Matern 5/2 plus linear.

    Squared distances and products are divided by the number of features, so that their scale does not depend on that
    number.

    Args:
        length: length scale; see :data:`LENGTH_SCALES`.
        linear: variance of the linear part.
        noise: noise variance of an observation, as a share of the kernel's mean variance.
        width: number of features.
    """

    def __init__(self, length: float, linear: float, noise: float, width: int) -> None:
        self._length = length * np.sqrt(max(1, width))
        self._linear, self._noise = linear / max(1, width), noise

    def __call__(self, a: Array, b: Array) -> Array:
        root = np.sqrt(5) / self._length * _distances(a, b)
        kernel: Array = (1 + root + root**2 / 3) * np.exp(-root) + self._linear * a @ b.T
        return kernel

    def diagonal(self, a: Array) -> Array:
        variance: Array = 1.0 + self._linear * (a**2).sum(1)
        return variance

    def gram(self, a: Array) -> Array:
        gram = self(a, a)
        scale = float(np.diag(gram).mean()) or 1.0  # the kernel's mean variance, of which the noise is a share
        gram[np.diag_indices_from(gram)] += self._noise * scale
        return gram


def _most_likely(features: Array, values: Array) -> Hyperparameters:
    """Return the hyperparameters of the grid that have the largest marginal likelihood over all quantities.

    With the best amplitude, the log likelihood of one quantity is, up to a constant,
    -n/2 log(amplitude) - sum(log(diag L)). n is the number of observations, and L is the lower Cholesky factor of the
    kernel matrix. The expression follows from Rasmussen and Williams (2006), equation 5.8.
    """
    scale = _Scale(features, values)
    observed, targets = scale.scale_features(features), scale.scale_values(values)
    best, best_likelihood = (LENGTH_SCALES[0], LINEAR_VARIANCES[0], NOISE_VARIANCES[0]), -np.inf
    for length, linear, noise in product(LENGTH_SCALES, LINEAR_VARIANCES, NOISE_VARIANCES):
        gram = _Kernel(length, linear, noise, observed.shape[1]).gram(observed)
        factor = cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
        amplitude = _amplitude(targets, cho_solve(factor, targets, check_finite=False))
        half_log_determinant = np.log(np.diag(factor[0])).sum()
        likelihood = float((-0.5 * len(observed) * np.log(amplitude) - half_log_determinant).sum())
        if likelihood > best_likelihood:
            best, best_likelihood = (length, linear, noise), likelihood
    return best


def _amplitude(targets: Array, weights: Array) -> Array:
    """Return the most likely amplitude of each quantity, y' K^-1 y / n, [t]; the amplitude multiplies the kernel.

    Args:
        targets: the scaled quantities y, [n, t].
        weights: K^-1 y for the kernel matrix K, [n, t].
    """
    amplitude: Array = np.maximum((targets * weights).mean(0), MIN_SPREAD)
    return amplitude


def _round_down(count: int) -> int:
    """Return the largest of 4, 4 * 1.5, 4 * 1.5^2, ... that is at most the count; the count itself below 4."""
    rounded = 4.0
    while rounded * REFIT_GROWTH <= count:
        rounded *= REFIT_GROWTH
    return min(count, int(rounded))


def _distances(a: Array, b: Array) -> Array:
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    distances: Array = np.sqrt(np.maximum(squares, 0.0))
    return distances
