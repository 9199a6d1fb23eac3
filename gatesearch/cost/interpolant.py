"""Which timings of kernels others tell, so that a table of many kernels stays within its hundred timings.

A kernel is read at points: shares of its inputs and outputs, and of what a precision gate leaves open, for every shape
and variant. How much less it takes where less is left, and how much more one variant takes than another, is much the
same from shape to shape; so it is timed on the smallest and the largest shape, and between them worked out. What would
have been timed goes first where that costs least, and only as far as need be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from gatesearch.cost.kernel_costs import Key, Point
from gatesearch.kernels import layer_kernels

SHARES = ("inputs", "outputs")  # a product's work is one in these
Get = Callable[[Hashable], float]
Work = Callable[[Get], float]


class Grid(NamedTuple):
    """Where a kernel is read: the names of the shares, and a point for each combination."""

    names: tuple[str, ...]
    points: tuple[Point, ...]

    @property
    def full(self) -> Point:
        """Nothing left out."""
        return tuple(max(values) for values in zip(*self.points, strict=True))

    def off(self, point: Point) -> tuple[int, ...]:
        """Return the axes on which a point leaves something out."""
        return tuple(i for i, (a, b) in enumerate(zip(point, self.full, strict=True)) if a < b)


def worked_out(grids: Mapping[Key, Grid], most: int) -> dict[Hashable, Work]:
    """Return what need not be timed, by (key, point), each with how it is worked out of the rest.

    Args:
        grids: by kernel, shape and variant.
        most: timings; where that cannot be reached, as few as can be.
    """
    found: dict[Hashable, Work] = dict(_corners(grids))
    found.update(_variants(grids))
    total = sum(len(grid.points) for grid in grids.values())
    for further in (_shares_of_variants, _shares_between, _open_between):
        for name, work in further(grids):
            if total - len(found) <= most:
                return found
            found.setdefault(name, work)
    return found


def resolved(timed: Mapping[Hashable, float], rest: Mapping[Hashable, Work]) -> dict[Hashable, float]:
    """Return what was timed and what is worked out of it.

    >>> resolved({"a": 2.0}, {"c": lambda get: get("b") + 1, "b": lambda get: 2 * get("a")})["c"]
    5.0
    """
    known = dict(timed)

    def get(name: Hashable) -> float:
        if name not in known:
            known[name] = rest[name](get)
        return known[name]

    for name in rest:
        get(name)
    return known


Rule = Iterator[tuple[Hashable, Work]]


def _corners(grids: Mapping[Key, Grid]) -> Rule:
    """Points that leave something out on several axes: as much less as on each of them."""
    for key, grid in grids.items():
        for point in grid.points:
            if len(off := grid.off(point)) > 1:
                single = [tuple(p if j == i else f for j, (p, f) in enumerate(zip(point, grid.full, strict=True)))
                          for i in off]  # fmt: skip
                yield (key, point), partial(_product, (key, grid.full), [(key, one) for one in single])


def _variants(grids: Mapping[Key, Grid]) -> Rule:
    """Variants between the smallest and the largest shape: by how much more they take there."""
    for base, other in _pairs(grids):
        shared = [shape for shape in other if shape in base]
        for shape in shared[1:-1]:
            ends = [(other[end], base[end]) for end in (shared[0], shared[-1])]
            yield from _like(grids, other[shape], base[shape], ends)


def _shares_of_variants(grids: Mapping[Key, Grid]) -> Rule:
    """What fewer inputs and outputs save, on variants: the same as on the one that all are held against."""
    for base, other in _pairs(grids):
        for shape in (shape for shape in other if shape in base):
            key, like = other[shape], base[shape]
            for index, point in _single(grids[key], SHARES):
                if index < len(grids[like].points):
                    there = grids[like].points[index]
                    ratio = ((like, there), (like, grids[like].full))
                    yield (key, point), partial(_scaled, (key, grids[key].full), [ratio])


def _shares_between(grids: Mapping[Key, Grid]) -> Rule:
    """What fewer inputs and outputs save, between shapes: what they do on the smallest and the largest."""
    yield from _between(grids, SHARES)


def _open_between(grids: Mapping[Key, Grid]) -> Rule:
    """The same of what is closed."""
    yield from _between(grids, ("open",))


def _between(grids: Mapping[Key, Grid], names: Sequence[str]) -> Rule:
    for kernel in dict.fromkeys(key[0] for key in grids):
        base = _families(grids, kernel)[0]
        shapes = [shape for shape in base if len(grids[base[shape]].points) == _largest(grids, base)]
        for shape in shapes[1:-1]:
            key = base[shape]
            for index, point in _single(grids[key], names):
                ends = [base[end] for end in (shapes[0], shapes[-1])]
                ratios = [((end, grids[end].points[index]), (end, grids[end].full)) for end in ends]
                yield (key, point), partial(_scaled, (key, grids[key].full), ratios)


def _largest(grids: Mapping[Key, Grid], family: Mapping[tuple[int, ...], Key]) -> int:
    return max(len(grids[key].points) for key in family.values())


def _like(grids: Mapping[Key, Grid], key: Key, like: Key, ends: Sequence[tuple[Key, Key]]) -> Rule:
    every = [key, like, *(one for pair in ends for one in pair)]
    if len({len(grids[one].points) for one in every}) > 1:
        return
    for index, point in enumerate(grids[key].points):
        ratios = [((one, grids[one].points[index]), (other, grids[other].points[index])) for one, other in ends]
        yield (key, point), partial(_scaled, (like, grids[like].points[index]), ratios)


def _single(grid: Grid, names: Sequence[str]) -> Iterator[tuple[int, Point]]:
    """Yield the points that leave something out on one axis of those alone."""
    for index, point in enumerate(grid.points):
        off = grid.off(point)
        if len(off) == 1 and grid.names[off[0]] in names:
            yield index, point


Family = Mapping[tuple[int, ...], Key]


def _families(grids: Mapping[Key, Grid], kernel: str) -> list[Family]:
    """Return the keys of each variant by the layer's own shape, the least work first.

    The first variant is the one that others are held against: it has the most shapes, and the largest numbers.
    """
    found: dict[object, dict[tuple[int, ...], Key]] = {}
    for key in sorted((key for key in grids if key[0] == kernel), key=lambda key: (math.prod(key[1][:6]), key)):
        found.setdefault(key[2], {})[_layer(key)] = key
    return [found[v] for v in sorted(found, key=lambda v: (len(found[v]), v), reverse=True)]


def _layer(key: Key) -> tuple[int, ...]:
    """Return the shape of a layer whose input channels are read in pieces."""
    kernel, shape, variant = key
    installed = layer_kernels().get(kernel)
    return shape if installed is None else installed.layer_shape(shape, dict(variant))


def _pairs(grids: Mapping[Key, Grid]) -> Iterator[tuple[Family, Family]]:
    for kernel in dict.fromkeys(key[0] for key in grids):
        base, *others = _families(grids, kernel)
        for other in others:
            yield base, other


def _product(full: Hashable, singles: Sequence[Hashable], get: Get) -> float:
    return get(full) * math.prod(get(one) / get(full) for one in singles)


def _scaled(like: Hashable, ratios: Sequence[tuple[Hashable, Hashable]], get: Get) -> float:
    return get(like) * math.prod(get(one) / get(other) for one, other in ratios) ** (1 / len(ratios))
