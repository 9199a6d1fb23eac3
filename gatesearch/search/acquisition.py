"""Expected hypervolume improvement where one objective is uncertain and the costs are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

Array = npt.NDArray[np.float64]
LEAST = 1e-12


class Belief(Protocol):
    """What is believed of an objective that is to be minimised, for [m] candidates."""

    def excess(self, level: float) -> Array:
        """Return E[max(level - Y, 0)], [m]."""


@dataclass(frozen=True)
class Normal:
    """Normal with ``mean`` [m] and ``deviation`` [m]."""

    mean: Array
    deviation: Array

    def excess(self, level: float) -> Array:
        """See :class:`Belief`."""
        spread = np.maximum(self.deviation, LEAST)
        z = (level - self.mean) / spread
        excess: Array = spread * (z * ndtr(z) + np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi))
        return excess


@dataclass(frozen=True)
class LogNormal:
    """Its logarithm is normal with ``mean`` [m] and ``deviation`` [m]: an error rate, which is never below zero.

    >>> round(float(LogNormal(np.log([0.1]), np.array([1e-9])).excess(0.3)[0]), 6)
    0.2
    """

    mean: Array
    deviation: Array

    def excess(self, level: float) -> Array:
        """See :class:`Belief`."""
        spread = np.maximum(self.deviation, LEAST)
        z = (np.log(level) - self.mean) / spread
        excess: Array = level * ndtr(z) - np.exp(self.mean + 0.5 * spread**2) * ndtr(z - spread)
        return excess


def expected_improvement(
    belief: Belief, costs: Array, front: Sequence[Sequence[float]], reference: Sequence[float]
) -> Array:
    """Return by how much each candidate is expected to raise the hypervolume of a front, [m].

    A candidate's costs being known, the volume that it adds grows with its quality piece by piece: between two
    qualities of the front, at the rate of the cost area that it alone dominates there. So the expectation is a sum of
    areas times expected excesses.

    Args:
        belief: of the uncertain objective.
        costs: the known objectives, to be minimised, [m, 2].
        front: points (uncertain objective, cost, cost) of what was observed.
        reference: the corner up to which volume counts, alike.

    >>> one = expected_improvement(
    ...     Normal(np.array([0.5]), np.array([1e-9])), np.array([[0.5, 0.5]]), [(0.25, 0.75, 0.5)], (1.0, 1.0, 1.0))
    >>> round(float(one[0]), 6)  # .5 ** 3 less what the front has of it already: .5 * .25 * .5
    0.0625
    """
    inside = sorted(p for p in map(tuple, front) if all(x < r for x, r in zip(p, reference, strict=True)))
    # Below levels[j] (the best qualities last) the front holds the first j + 1 points of `inside`.
    levels = np.array([*(p[0] for p in inside), reference[0]])
    below = belief.excess(levels[0])
    total = below * _area(costs, [], reference)
    for j in range(len(inside)):
        above = belief.excess(levels[j + 1])
        held = [p[1:] for p in inside[: j + 1]]
        total += (above - below) * _area(costs, held, reference)
        below = above
    return total


def _area(costs: Array, held: Sequence[Sequence[float]], reference: Sequence[float]) -> Array:
    """Return the area up to the reference that each pair of costs dominates and no held pair does, [m]."""
    right, top = reference[1:]
    steps = [(-np.inf, top), *sorted(tuple(pair) for pair in held)]
    edges = [min(left, right) for left, _ in steps[1:]] + [right]
    area, floor = np.zeros(len(costs)), np.full(len(costs), np.inf)
    for (left, height), edge in zip(steps, edges, strict=True):
        floor = np.minimum(floor, height)  # of the held staircase, from here to the next step
        area += np.maximum(0, edge - np.maximum(costs[:, 0], left)) * np.maximum(0, floor - costs[:, 1])
    return area
