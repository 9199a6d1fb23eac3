"""Pareto fronts and hypervolume; every objective is minimised."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Point = Sequence[float]


def dominates(a: Point, b: Point) -> bool:
    """Say whether a is nowhere worse than b and somewhere better.

    >>> dominates((1, 2), (1, 3)), dominates((1, 2), (1, 2))
    (True, False)
    """
    return all(x <= y for x, y in zip(a, b, strict=True)) and tuple(a) != tuple(b)


def front(points: Sequence[Point]) -> list[int]:
    """Return the indices of the points that no other dominates, in order.

    >>> front([(1, 4), (2, 2), (3, 3), (4, 1)])
    [0, 1, 3]
    """
    values = np.array([tuple(point) for point in points])
    return [i for i, p in enumerate(values) if not ((values <= p).all(1) & (values < p).any(1)).any()]


def unique_front(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the points [m, objectives] that no other dominates, each once; fast enough for thousands of points.

    >>> unique_front(np.array([[1.0, 4.0], [2.0, 2.0], [3.0, 3.0], [4.0, 1.0], [2.0, 2.0]])).tolist()
    [[1.0, 4.0], [2.0, 2.0], [4.0, 1.0]]
    """
    rest, members = np.unique(points, axis=0), []
    while len(rest):
        # No point dominates the first in lexical order. What it dominates leaves with it.
        members.append(rest[0])
        rest = rest[(rest < rest[0]).any(1)]
    return np.array(members).reshape(-1, points.shape[1])


def hypervolume(points: Sequence[Point], reference: Point) -> float:
    """Return the volume that the points dominate up to the reference.

    The volume is cut into slices along the last objective; in each slice the points below it dominate an area of one
    dimension less.

    >>> hypervolume([(1.0, 3.0), (2.0, 1.0)], (4.0, 4.0))
    7.0
    """
    inside = sorted(
        {tuple(p) for p in points if all(x < r for x, r in zip(p, reference, strict=True))},
        key=lambda p: p[-1],
    )
    if not inside:
        return 0.0
    if len(reference) == 1:
        return reference[0] - inside[0][0]
    levels = [p[-1] for p in inside] + [reference[-1]]
    volume = 0.0
    for i in range(len(inside)):
        if levels[i + 1] > levels[i]:
            area = hypervolume([p[:-1] for p in inside[: i + 1]], reference[:-1])
            volume += (levels[i + 1] - levels[i]) * area
    return volume
