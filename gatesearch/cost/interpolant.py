"""Rules that derive timings of kernels from other timings, so that a table of many kernels fits its budget.

A kernel has a time for every shape and variant, and for every point of a grid of shares: of its inputs, of its outputs,
and of the outputs that a precision gate leaves open. That is too many to time. But a time is close to a product of
factors, one for the shape, one for the variant and one for each share: a smaller share saves about the same fraction on
every shape. So a ratio between two points is timed on the smallest and on the largest shape only. On a shape between
them, the time of a point is that of a similar point times the geometric mean of the two ratios (the mean that fits
factors). The rules apply in the order of the error that they risk, until the remaining timings fit the budget.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from gatesearch.cost.kernel_costs import Key, Point
from gatesearch.kernels import layer_kernels

SHARES = ("inputs", "outputs")  # the work of a matrix product is linear in each of them
Get = Callable[[Hashable], float]  # the time of a point by its name
Work = Callable[[Get], float]  # a derived time, from the times of other points


class Grid(NamedTuple):
    """The grid of a kernel: the names of its axes, and a point for each combination of shares."""

    names: tuple[str, ...]
    points: tuple[Point, ...]

    @property
    def full(self) -> Point:
        """The point with the full share on every axis."""
        return tuple(max(values) for values in zip(*self.points, strict=True))

    def reduced_axes(self, point: Point) -> tuple[int, ...]:
        """Return the axes on which a point has less than the full share."""
        return tuple(i for i, (a, b) in enumerate(zip(point, self.full, strict=True)) if a < b)


def derivation_rules(grids: Mapping[Key, Grid], max_timings: int) -> dict[Hashable, Work]:
    """Return the points that need no timing, by (key, point), each with the rule that derives it from others.

    The first two rules always apply. The others apply in order, until the number of timings fits.

    Args:
        grids: the grid of each kernel, shape and variant.
        max_timings: the number of timings to reach; more remain if all rules together are not enough.
    """
    rules: dict[Hashable, Work] = dict(_several_axes(grids))
    rules.update(_variants(grids))
    total = sum(len(grid.points) for grid in grids.values())
    for further in (_shares_of_variants, _shares_between, _open_between):
        for name, work in further(grids):
            if total - len(rules) <= max_timings:
                return rules
            rules.setdefault(name, work)
    return rules


def resolve(timed: Mapping[Hashable, float], rest: Mapping[Hashable, Work]) -> dict[Hashable, float]:
    """Return all times: the measured ones, and those that the rules derive from them.

    >>> resolve({"a": 2.0}, {"c": lambda get: get("b") + 1, "b": lambda get: 2 * get("a")})["c"]
    5.0
    """
    times = dict(timed)

    def get(name: Hashable) -> float:
        if name not in times:
            times[name] = rest[name](get)
        return times[name]

    for name in rest:
        get(name)
    return times


Rule = Iterator[tuple[Hashable, Work]]


def _several_axes(grids: Mapping[Key, Grid]) -> Rule:
    """Derive a point with smaller shares on several axes: the ratios of each axis alone multiply."""
    for key, grid in grids.items():
        for point in grid.points:
            axes = grid.reduced_axes(point)
            if len(axes) > 1:
                single = [(*grid.full[:axis], point[axis], *grid.full[axis + 1 :]) for axis in axes]
                yield (key, point), partial(_product, (key, grid.full), [(key, one) for one in single])


def _variants(grids: Mapping[Key, Grid]) -> Rule:
    """Derive a variant between the extreme shapes: the base variant's time, times the ratio of the variants there."""
    for base, other in _pairs(grids):
        shared = [shape for shape in other if shape in base]
        for shape in shared[1:-1]:
            ends = [(other[end], base[end]) for end in (shared[0], shared[-1])]
            yield from _by_ratio(grids, other[shape], base[shape], ends)


def _shares_of_variants(grids: Mapping[Key, Grid]) -> Rule:
    """Derive a smaller share of inputs or outputs on a variant by the base variant's ratio to the full share."""
    for base, other in _pairs(grids):
        for shape in (shape for shape in other if shape in base):
            key, like = other[shape], base[shape]
            for index, point in _single(grids[key], SHARES):
                if index < len(grids[like].points):
                    same_point = grids[like].points[index]
                    ratio = ((like, same_point), (like, grids[like].full))
                    yield (key, point), partial(_scaled, (key, grids[key].full), [ratio])


def _shares_between(grids: Mapping[Key, Grid]) -> Rule:
    """Derive a smaller share of inputs or outputs between the extreme shapes from the ratios on these."""
    yield from _between(grids, SHARES)


def _open_between(grids: Mapping[Key, Grid]) -> Rule:
    """Derive a smaller share of open outputs between the extreme shapes from the ratios on these."""
    yield from _between(grids, ("open",))


def _between(grids: Mapping[Key, Grid], names: Sequence[str]) -> Rule:
    """Derive points of the base variant with a smaller share on one of the named axes, between the extreme shapes."""
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


def _by_ratio(grids: Mapping[Key, Grid], key: Key, like: Key, ends: Sequence[tuple[Key, Key]]) -> Rule:
    """Derive every point of ``key`` from that of ``like`` and the ratios of pairs; none if the grids differ in size."""
    every = [key, like, *(one for pair in ends for one in pair)]
    if len({len(grids[one].points) for one in every}) > 1:
        return
    for index, point in enumerate(grids[key].points):
        ratios = [((one, grids[one].points[index]), (other, grids[other].points[index])) for one, other in ends]
        yield (key, point), partial(_scaled, (like, grids[like].points[index]), ratios)


def _single(grid: Grid, names: Sequence[str]) -> Iterator[tuple[int, Point]]:
    """Yield the points, with their index, that have a smaller share on exactly one axis, and that is a named one."""
    for index, point in enumerate(grid.points):
        axes = grid.reduced_axes(point)
        if len(axes) == 1 and grid.names[axes[0]] in names:
            yield index, point


Family = Mapping[tuple[int, ...], Key]


def _families(grids: Mapping[Key, Grid], kernel: str) -> list[Family]:
    """Return the keys of each variant of a kernel, by the shape of the layer, the shape with the least work first.

    The first family is the base variant, to which ratios refer: the one with the most shapes; of several, the one with
    the largest numbers.
    """
    families: dict[object, dict[tuple[int, ...], Key]] = {}
    for key in sorted((key for key in grids if key[0] == kernel), key=lambda key: (math.prod(key[1][:6]), key)):
        families.setdefault(key[2], {})[_layer_shape(key)] = key
    return [families[v] for v in sorted(families, key=lambda v: (len(families[v]), v), reverse=True)]


def _layer_shape(key: Key) -> tuple[int, ...]:
    """Return the shape of the layer; a kernel's own shape differs if it reads its input channels in pieces."""
    kernel, shape, variant = key
    installed = layer_kernels().get(kernel)
    return shape if installed is None else installed.layer_shape(shape, dict(variant))


def _pairs(grids: Mapping[Key, Grid]) -> Iterator[tuple[Family, Family]]:
    """Yield the base variant of each kernel with each of its other variants."""
    for kernel in dict.fromkeys(key[0] for key in grids):
        base, *others = _families(grids, kernel)
        for other in others:
            yield base, other


def _product(full: Hashable, singles: Sequence[Hashable], get: Get) -> float:
    """Return the time of the full point times the ratio of each single-axis point to it."""
    return get(full) * math.prod(get(one) / get(full) for one in singles)


def _scaled(like: Hashable, ratios: Sequence[tuple[Hashable, Hashable]], get: Get) -> float:
    """Return the time of a similar point times the geometric mean of some ratios."""
    return get(like) * math.prod(get(one) / get(other) for one, other in ratios) ** (1 / len(ratios))
