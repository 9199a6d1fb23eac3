"""Expected hypervolume improvement where one objective is uncertain and the costs are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

Array = npt.NDArray[np.float64]
LEAST = 1e-12


@dataclass(frozen=True)
class LogNormal:
    """Belief of an objective whose logarithm is normal with ``mean`` [m] and ``deviation`` [m].

    An error rate is never below zero.

    >>> LogNormal(np.log([0.1]), np.array([1e-9])).excess(np.array([0.3])).round(6).tolist()
    [[0.2]]
    """

    mean: Array
    deviation: Array

    def excess(self, levels: Array) -> Array:
        """Return E[max(level - Y, 0)] of each candidate and level, [m, levels]."""
        spread = np.maximum(self.deviation, LEAST)[:, None]
        z = (np.log(levels) - self.mean[:, None]) / spread
        excess: Array = levels * ndtr(z) - np.exp(self.mean[:, None] + 0.5 * spread**2) * ndtr(z - spread)
        return excess


def expected_improvement(
    belief: LogNormal, costs: Array, front: Sequence[Sequence[float]], reference: Sequence[float]
) -> Array:
    """Return by how much each candidate is expected to raise the hypervolume of a front, [m].

    A candidate's costs being known, it dominates a known rectangle of costs. The front parts the rectangle into cells;
    above each lies free what is worse than the best quality that the front has there. So the expectation is a sum of
    areas times expected excesses over those levels.

    Args:
        belief: of the uncertain objective.
        costs: the known objectives, to be minimised, [m, 2]; infinite where a candidate is none.
        front: points (uncertain objective, cost, cost) of what was observed.
        reference: the corner up to which volume counts, alike.

    >>> one = expected_improvement(
    ...     LogNormal(np.log([0.5]), np.array([1e-9])), np.array([[0.5, 0.5]]), [(0.25, 0.75, 0.5)], (1.0, 1.0, 1.0))
    >>> round(float(one[0]), 6)  # .5 ** 3 less what the front has of it already: .5 * .25 * .5
    0.0625
    """
    points = np.array([p for p in front if all(x < r for x, r in zip(p, reference, strict=True))]).reshape(-1, 3)
    corner = np.array(reference[1:])
    asked = np.clip(costs, None, corner)
    edges = [np.unique([*points[:, 1 + d], asked[:, d].min(initial=corner[d]), corner[d]]) for d in (0, 1)]
    levels, at = _levels(points, edges, reference[0])
    # Area of each level above and to the right of every corner of the grid, [levels, right edges, top edges].
    areas = np.zeros((len(levels), len(edges[0]), len(edges[1])))
    areas[:, :-1, :-1] = (at[None] == np.arange(len(levels))[:, None, None]) * np.outer(*map(np.diff, edges))
    areas = areas[:, ::-1, ::-1].cumsum(1).cumsum(2)[:, ::-1, ::-1]
    return (_within(areas, edges, asked) * belief.excess(levels)).sum(1)


def _levels(points: Array, edges: Sequence[Array], worst: float) -> tuple[Array, npt.NDArray[np.intp]]:
    """Return the levels, and which of them is the best of the front in each cell of the grid."""
    best = np.full((len(edges[0]), len(edges[1])), worst)
    where = np.searchsorted(edges[0], points[:, 1]), np.searchsorted(edges[1], points[:, 2])
    np.minimum.at(best, where, points[:, 0])
    best = np.minimum.accumulate(np.minimum.accumulate(best, 0), 1)[:-1, :-1]
    levels, at = np.unique(best, return_inverse=True)
    return levels, at.reshape(best.shape)


def _within(areas: Array, edges: Sequence[Array], asked: Array) -> Array:
    """Return the area of each level that each pair of costs dominates, [m, levels]: linear between the grid's edges."""
    first, share = [], []
    for edge, values in zip(edges, asked.T, strict=True):
        here = np.clip(np.searchsorted(edge, values, side="right") - 1, 0, max(0, len(edge) - 2))
        width = edge[np.minimum(here + 1, len(edge) - 1)] - edge[here]
        first.append(here)
        share.append(np.divide(values - edge[here], width, out=np.zeros(len(values)), where=width > 0))
    (i, j), (u, v) = first, share
    k, m = np.minimum(i + 1, len(edges[0]) - 1), np.minimum(j + 1, len(edges[1]) - 1)
    mixed: Array = (
        areas[:, i, j] * (1 - u) * (1 - v)
        + areas[:, k, j] * u * (1 - v)
        + areas[:, i, m] * (1 - u) * v
        + areas[:, k, m] * u * v
    ).T
    return mixed
