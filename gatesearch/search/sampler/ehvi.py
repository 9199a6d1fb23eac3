"""Expected hypervolume improvement of a plan whose error is uncertain and whose two costs are exact.

In general the expectation is an integral over boxes in the space of all objectives (Emmerich, Yang and Deutz 2020,
"Infill Criteria for Multiobjective Bayesian Optimization"). In this module two of the three objectives are exact, so
the integral is over the error alone and has a closed form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
MIN_DEVIATION = 1e-12


@dataclass(frozen=True)
class LogNormal:
    """An objective whose logarithm has a normal distribution; this suits an error rate, which is positive.

    Args:
        mean, deviation: mean and standard deviation of the logarithm, [m].

    >>> LogNormal(np.log([0.1]), np.array([1e-9])).expected_excess(np.array([0.3])).round(6).tolist()
    [[0.2]]
    """

    mean: Array
    deviation: Array

    def expected_excess(self, levels: Array) -> Array:
        """Return the expected excess E[max(level - Y, 0)] of each candidate and level, [m, levels].

        Y is the objective, Phi the distribution function of the standard normal, and z = (log level - mean) /
        deviation. The excess is level * Phi(z) - exp(mean + deviation^2 / 2) * Phi(z - deviation). The price of a put
        option has the same form (Black and Scholes 1973).
        """
        spread = np.maximum(self.deviation, MIN_DEVIATION)[:, None]
        # A level is 0 if a network of the front makes no errors. Then log(level) and z are -inf, and the excess is 0.
        log_levels = np.log(levels, out=np.full(len(levels), -np.inf), where=levels > 0)
        z = (log_levels - self.mean[:, None]) / spread
        excess: Array = levels * ndtr(z) - np.exp(self.mean[:, None] + 0.5 * spread**2) * ndtr(z - spread)
        return excess


def expected_improvement(
    error: LogNormal,
    costs: Array,
    front: Sequence[Sequence[float]],
    reference: Sequence[float],
    error_of: Indices | None = None,
) -> Array:
    """Return by how much each candidate is expected to raise the hypervolume of a front, [m].

    A candidate's costs are exact, so the rectangle of costs that it dominates is exact, too. The costs of the front
    divide the plane of the two costs into a grid of cells. In each cell the front reaches some level of error. There a
    candidate adds volume from its own error up to that level. So the expectation is a sum over levels. The summand of a
    level is a product: the area that the candidate dominates in cells of this level, times the expected excess of the
    level over the candidate's error.

    Args:
        error: the error of each candidate, [m]; with ``error_of``, errors that several candidates may share, [errors].
        costs: the costs of each candidate, to be minimised, [m, 2]; infinite where the device cannot run it.
        front: observed points (error, cost, cost) that no other observed point dominates.
        reference: the corner (error, cost, cost) up to which volume counts.
        error_of: index into ``error`` of each candidate's error, [m]; None: each candidate has its own error.

    >>> one = expected_improvement(
    ...     LogNormal(np.log([0.5]), np.array([1e-9])), np.array([[0.5, 0.5]]), [(0.25, 0.75, 0.5)], (1.0, 1.0, 1.0))
    >>> round(float(one[0]), 6)  # .5 ** 3 less what the front dominates already: .5 * .25 * .5
    0.0625
    """
    points = np.array([p for p in front if all(x < r for x, r in zip(p, reference, strict=True))]).reshape(-1, 3)
    corner = np.array(reference[1:])
    costs = np.clip(costs, None, corner)
    boundaries = [np.unique([*points[:, 1 + d], costs[:, d].min(initial=corner[d]), corner[d]]) for d in (0, 1)]
    levels, level_of_cell = _levels(points, boundaries, reference[0])
    # ``boundaries`` holds the cell boundaries of each cost. ``areas`` [boundaries of cost 1, boundaries of cost 2,
    # levels] holds, for each grid corner and level, the area of the cells of that level above and to the right of the
    # corner. The reversed cumulative sums add up these cells. Levels are the last axis, so the areas of one corner lie
    # together in memory.
    cell_areas = np.outer(*map(np.diff, boundaries))
    areas = np.zeros((len(boundaries[0]), len(boundaries[1]), len(levels)))
    areas[:-1, :-1] = (level_of_cell[:, :, None] == np.arange(len(levels))) * cell_areas[:, :, None]
    areas = np.ascontiguousarray(areas[::-1, ::-1].cumsum(0).cumsum(1)[::-1, ::-1])
    excess = error.expected_excess(levels)
    return (_dominated_areas(areas, boundaries, costs) * (excess if error_of is None else excess[error_of])).sum(1)


def _levels(points: Array, boundaries: Sequence[Array], worst: float) -> tuple[Array, Indices]:
    """Return the levels of error, and the index of the level of each grid cell.

    The level of a cell is the smallest error that the front reaches at the costs of the cell.
    """
    best = np.full((len(boundaries[0]), len(boundaries[1])), worst)
    corners = np.searchsorted(boundaries[0], points[:, 1]), np.searchsorted(boundaries[1], points[:, 2])
    np.minimum.at(best, corners, points[:, 0])
    best = np.minimum.accumulate(np.minimum.accumulate(best, 0), 1)[:-1, :-1]
    levels, level_of_cell = np.unique(best, return_inverse=True)
    return levels, level_of_cell.reshape(best.shape)


def _dominated_areas(areas: Array, boundaries: Sequence[Array], costs: Array) -> Array:
    """Return, for each candidate and level, the area that the candidate dominates in cells of the level, [m, levels].

    Inside a cell the area is bilinear in the two costs, so bilinear interpolation between the cell's corners is exact.
    """
    cells, shares = [], []
    for edge, values in zip(boundaries, costs.T, strict=True):
        cell = np.clip(np.searchsorted(edge, values, side="right") - 1, 0, max(0, len(edge) - 2))
        width = edge[np.minimum(cell + 1, len(edge) - 1)] - edge[cell]
        cells.append(cell)
        shares.append(np.divide(values - edge[cell], width, out=np.zeros(len(values)), where=width > 0))
    (left, bottom), (u, v) = cells, shares
    right, top = np.minimum(left + 1, len(boundaries[0]) - 1), np.minimum(bottom + 1, len(boundaries[1]) - 1)
    u, v = u[:, None], v[:, None]
    dominated: Array = (
        areas[left, bottom] * (1 - u) * (1 - v)
        + areas[right, bottom] * u * (1 - v)
        + areas[left, top] * (1 - u) * v
        + areas[right, top] * u * v
    )
    return dominated
