"""Pareto fronts and hypervolume; every objective is minimised."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Point = Sequence[float]


def dominates(a: Point, b: Point) -> bool:
    """Return whether point a is at least as good as point b in every objective, and better in at least one.

    >>> dominates((1, 2), (1, 3)), dominates((1, 2), (1, 2))
    (True, False)
    """
    return all(x <= y for x, y in zip(a, b, strict=True)) and tuple(a) != tuple(b)


def front(points: Sequence[Point]) -> list[int]:
    """Return the indices of the points that no other point dominates, in ascending order.

    >>> front([(1, 4), (2, 2), (3, 3), (4, 1)])
    [0, 1, 3]
    """
    if not len(points):
        return []
    distinct, index = np.unique(np.array([tuple(point) for point in points]), axis=0, return_inverse=True)
    is_member = np.zeros(len(distinct), dtype=bool)
    is_member[_front_of_distinct(distinct)] = True
    return np.flatnonzero(is_member[index.reshape(-1)]).tolist()


def unique_front(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the points [m, objectives] that no other point dominates, each once; fast for thousands of points.

    >>> unique_front(np.array([[1.0, 4.0], [2.0, 2.0], [3.0, 3.0], [4.0, 1.0], [2.0, 2.0]])).tolist()
    [[1.0, 4.0], [2.0, 2.0], [4.0, 1.0]]
    """
    ordered = points[
        np.lexsort(points.T[::-1])
    ]  # in lexical order; np.unique is not used, because it sorts rows as bytes and is several times slower
    is_new = np.ones(len(ordered), dtype=bool)
    is_new[1:] = (ordered[1:] != ordered[:-1]).any(1)
    distinct = ordered[is_new]
    front_points: npt.NDArray[np.float64] = distinct[_front_of_distinct(distinct)]
    return front_points


def _front_of_distinct(points: npt.NDArray[np.float64]) -> list[int]:
    """Return the indices of the points that no other point dominates.

    The points [m, objectives] must be distinct and in lexical order.
    """
    rest, members = np.arange(len(points)), []
    while len(rest):
        # No point dominates the first one in lexical order, so it is on the front. This point, and every point that it
        # dominates, are removed from the rest.
        first = points[rest[0]]
        members.append(int(rest[0]))
        rest = rest[(points[rest] < first).any(1)]
    return members


def hypervolume(points: Sequence[Point], reference: Point) -> float:
    """Return the volume that the points dominate up to the reference.

    The function cuts the volume into slices along the last objective. The cross-section of a slice has one dimension
    less: it is the region that the points below the slice dominate. With two objectives each slice is a strip. Its
    width is the distance from the smallest first objective of these points to the reference.

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
    if len(reference) == 2:
        return _area(inside, reference)
    levels = [p[-1] for p in inside] + [reference[-1]]
    volume = 0.0
    for i in range(len(inside)):
        if levels[i + 1] > levels[i]:
            area = hypervolume([p[:-1] for p in inside[: i + 1]], reference[:-1])
            volume += (levels[i + 1] - levels[i]) * area
    return volume


def _area(points: Sequence[Point], reference: Point) -> float:
    """Return the area that points dominate up to the reference; the points are sorted by their second objective."""
    area, best = 0.0, reference[0]
    levels = [point[1] for point in points] + [reference[1]]
    for k, point in enumerate(points):
        best = min(best, point[0])
        if levels[k + 1] > levels[k]:
            area += (levels[k + 1] - levels[k]) * (reference[0] - best)
    return area
