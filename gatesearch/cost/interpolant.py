"""Which timings of kernels follow from others, so that a table of many kernels stays within its budget.

A kernel is timed at the points of a grid: shares of its inputs, of its outputs, and of the outputs that a precision
gate leaves open, for every shape and variant. A time is close to a product of factors, one for the shape, one for the
variant and one for each share: less of an axis saves the same fraction on every shape. So ratios between points are
timed on the smallest and the largest shape alone, and a time in between is that of a similar point times the geometric
mean of the two ratios. Rules apply in order of the error that they risk, and only until the rest fits the budget.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from gatesearch.cost.kernel_costs import Key, Point
from gatesearch.kernels import layer_kernels

SHARES = ("inputs", "outputs")  # the work of a product is linear in each of them
Get = Callable[[Hashable], float]
Work = Callable[[Get], float]


class Grid(NamedTuple):
    """Where a kernel is timed: the names of its axes, and a point for each combination of shares."""

    names: tuple[str, ...]
    points: tuple[Point, ...]

    @property
    def full(self) -> Point:
        """The point at which nothing is left out."""
        return tuple(max(values) for values in zip(*self.points, strict=True))

    def off(self, point: Point) -> tuple[int, ...]:
        """Return the axes on which a point leaves something out."""
        return tuple(i for i, (a, b) in enumerate(zip(point, self.full, strict=True)) if a < b)


def derivable(grids: Mapping[Key, Grid], most: int) -> dict[Hashable, Work]:
    """Return the points that need not be timed, by (key, point), each with the rule that derives it from others.

    Args:
        grids: by kernel, shape and variant.
        most: timings to stay within; where the rules do not suffice, more are left than that.
    """
    rules: dict[Hashable, Work] = dict(_several_axes(grids))
    rules.update(_variants(grids))
    total = sum(len(grid.points) for grid in grids.values())
    for further in (_shares_of_variants, _shares_between, _open_between):
        for name, work in further(grids):
            if total - len(rules) <= most:
                return rules
            rules.setdefault(name, work)
    return rules


def resolved(timed: Mapping[Hashable, float], rest: Mapping[Hashable, Work]) -> dict[Hashable, float]:
    """Return all times: those that were measured, and those that rules derive from them.

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


def _several_axes(grids: Mapping[Key, Grid]) -> Rule:
    """Derive a point that leaves something out on several axes: the product of the savings on each axis alone."""
    for key, grid in grids.items():
        for point in grid.points:
            off = grid.off(point)
            if len(off) > 1:
                single = [(*grid.full[:axis], point[axis], *grid.full[axis + 1 :]) for axis in off]
                yield (key, point), partial(_product, (key, grid.full), [(key, one) for one in single])


def _variants(grids: Mapping[Key, Grid]) -> Rule:
    """Derive a variant on a shape in between: the first variant's time, times their ratio on the two extreme shapes."""
    for base, other in _pairs(grids):
        shared = [shape for shape in other if shape in base]
        for shape in shared[1:-1]:
            ends = [(other[end], base[end]) for end in (shared[0], shared[-1])]
            yield from _like(grids, other[shape], base[shape], ends)


def _shares_of_variants(grids: Mapping[Key, Grid]) -> Rule:
    """Derive the saving of fewer inputs or outputs on a variant: the fraction is that of the first variant."""
    for base, other in _pairs(grids):
        for shape in (shape for shape in other if shape in base):
            key, like = other[shape], base[shape]
            for index, point in _single(grids[key], SHARES):
                if index < len(grids[like].points):
                    there = grids[like].points[index]
                    ratio = ((like, there), (like, grids[like].full))
                    yield (key, point), partial(_scaled, (key, grids[key].full), [ratio])


def _shares_between(grids: Mapping[Key, Grid]) -> Rule:
    """Derive the saving of fewer inputs or outputs on a shape in between from that on the two extreme shapes."""
    yield from _between(grids, SHARES)


def _open_between(grids: Mapping[Key, Grid]) -> Rule:
    """Derive the saving of closed outputs on a shape in between from that on the two extreme shapes."""
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
    """Yield the points that leave something out on exactly one axis, which is one of those named."""
    for index, point in enumerate(grid.points):
        off = grid.off(point)
        if len(off) == 1 and grid.names[off[0]] in names:
            yield index, point


Family = Mapping[tuple[int, ...], Key]


def _families(grids: Mapping[Key, Grid], kernel: str) -> list[Family]:
    """Return the keys of each variant by the layer's own shape, the least work first.

    The first variant is the one that ratios refer to: it has the most shapes, and the largest numbers.
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
