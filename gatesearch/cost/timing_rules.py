"""Rules that derive times of kernels from other times, so that timings fit their budget.

A kernel has a time for every shape and variant, and for every point of a grid of shares. The shares are those of its
inputs, of its outputs, and of its open outputs, which a precision gate computes at full precision. These are too many
times to measure. But a time is close to a product of factors: one for the shape, one for the variant and one for each
share. So the ratio of two times changes little from shape to shape, and other times can be derived from it. If a ratio
was measured on two shapes, the rules use the geometric mean, because factors multiply.

The base variant of a kernel is the variant with the most shapes. The outermost shapes of a variant are its shape with
the least work and its shape with the most work; its other shapes are inner shapes. The full point of a grid has the
full share on every axis. A point is reduced on an axis if its share there is smaller.

Each rule derives the times of some points. The rules are sorted by the error that they risk, the smallest first:

1. Points that are reduced on several axes. The time is that of the full point, times one ratio for each of these axes:
   the time of the point that is reduced on this axis alone, divided by the time of the full point.
2. Points of another variant than the base variant, on an inner shape. The time is that of the base variant at the same
   point on the same shape, times the ratio of the two variants on the outermost shapes.
3. Points of another variant that are reduced on an axis of channels. The time is that of the variant's full point,
   times the base variant's ratio of the reduced point to the full point on the same shape.
4. Points of the base variant that are reduced on an axis of channels, on an inner shape. The time is that of the full
   point, times the ratio of the reduced point to the full point on the outermost shapes.
5. Points of the base variant that have a smaller share of open outputs, on an inner shape. The time is computed as in
   rule 4.

Rules 1 and 2 always apply; if both can derive a point, rule 2 is used. Rules 3 to 5 apply point by point, in this
order, only until the remaining timings fit the budget.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from gatesearch.cost.kernel_costs import Key, Point
from gatesearch.kernels import layer_kernels
from gatesearch.kernels.gated_u8 import IN_BYTES

CHANNEL_AXES = ("inputs", "outputs")  # the work of a matrix product is linear in each of them
OPEN_AXES = ("open",)
WORK_SIZES = 6  # numbers at the beginning of a shape whose product grows with its work
LookUp = Callable[[Hashable], float]  # returns the time of a point by its name
Derivation = Callable[[LookUp], float]  # computes a time from the times of other points
Derivations = Iterator[tuple[Hashable, Derivation]]  # names of points, each with its derivation


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
        return tuple(i for i, (share, full) in enumerate(zip(point, self.full, strict=True)) if share < full)


def choose_derivations(grids: Mapping[Key, Grid], max_timings: int) -> dict[Hashable, Derivation]:
    """Return the points that need no timing, by (key, point), each with its derivation from other points.

    Args:
        grids: the grid of each kernel, shape and variant.
        max_timings: the number of timings to reach; more remain if all rules together are not enough.
    """
    derivations: dict[Hashable, Derivation] = dict(_multi_axis_points(grids))
    derivations.update(_variants_at_inner_shapes(grids))
    total = sum(len(grid.points) for grid in grids.values())
    for rule in (_channel_shares_of_variants, _channel_shares_at_inner_shapes, _open_shares_at_inner_shapes):
        for name, derivation in rule(grids):
            if total - len(derivations) <= max_timings:
                return derivations
            derivations.setdefault(name, derivation)
    return derivations


def resolve(timed: Mapping[Hashable, float], derivations: Mapping[Hashable, Derivation]) -> dict[Hashable, float]:
    """Return all times: the measured ones, and the derived ones.

    >>> resolve({"a": 2.0}, {"c": lambda look_up: look_up("b") + 1, "b": lambda look_up: 2 * look_up("a")})["c"]
    5.0
    """
    times = dict(timed)

    def look_up(name: Hashable) -> float:
        if name not in times:
            times[name] = derivations[name](look_up)
        return times[name]

    for name in derivations:
        look_up(name)
    return times


def _multi_axis_points(grids: Mapping[Key, Grid]) -> Derivations:
    """Rule 1: derive points that are reduced on several axes from the points that are reduced on one of them."""
    for key, grid in grids.items():
        for point in grid.points:
            axes = grid.reduced_axes(point)
            if len(axes) > 1:
                singles = [(key, (*grid.full[:axis], point[axis], *grid.full[axis + 1 :])) for axis in axes]
                yield (key, point), partial(_product, (key, grid.full), singles)


def _variants_at_inner_shapes(grids: Mapping[Key, Grid]) -> Derivations:
    """Rule 2: on inner shapes, scale the base variant's times by the ratio variant / base on the outermost shapes.

    The shapes are those that both variants have.
    """
    for base, variant in _variant_pairs(grids):
        shared = [shape for shape in variant if shape in base]
        for shape in shared[1:-1]:
            ends = [(variant[end], base[end]) for end in (shared[0], shared[-1])]
            yield from _derive_by_ratio(grids, variant[shape], base[shape], ends)


def _channel_shares_of_variants(grids: Mapping[Key, Grid]) -> Derivations:
    """Rule 3: scale a variant's full point by the base variant's ratio reduced / full on the same shape.

    The rule derives the points with a smaller share of inputs or outputs.
    """
    for base, variant in _variant_pairs(grids):
        for shape in (shape for shape in variant if shape in base):
            key, reference = variant[shape], base[shape]
            for index, point in _single_axis_points(grids[key], CHANNEL_AXES):
                if index < len(grids[reference].points):
                    same_point = grids[reference].points[index]
                    ratio = ((reference, same_point), (reference, grids[reference].full))
                    yield (key, point), partial(_scaled, (key, grids[key].full), [ratio])


def _channel_shares_at_inner_shapes(grids: Mapping[Key, Grid]) -> Derivations:
    """Rule 4: derive a smaller share of inputs or outputs on inner shapes from the ratios on the outermost shapes."""
    yield from _derive_interior(grids, CHANNEL_AXES)


def _open_shares_at_inner_shapes(grids: Mapping[Key, Grid]) -> Derivations:
    """Rule 5: derive a smaller share of open outputs on inner shapes from the ratios on the outermost shapes."""
    yield from _derive_interior(grids, OPEN_AXES)


def _derive_interior(grids: Mapping[Key, Grid], names: Sequence[str]) -> Derivations:
    """Derive points of the base variant with a smaller share on one of the named axes, on inner shapes.

    Only shapes whose grid has the most points take part, so that equal indices mean equal points.
    """
    for kernel in dict.fromkeys(key[0] for key in grids):
        base = _variants_of(grids, kernel)[0]
        largest = max(len(grids[key].points) for key in base.values())
        shapes = [shape for shape in base if len(grids[base[shape]].points) == largest]
        for shape in shapes[1:-1]:
            key = base[shape]
            for index, point in _single_axis_points(grids[key], names):
                ends = [base[end] for end in (shapes[0], shapes[-1])]
                ratios = [((end, grids[end].points[index]), (end, grids[end].full)) for end in ends]
                yield (key, point), partial(_scaled, (key, grids[key].full), ratios)


def _derive_by_ratio(
    grids: Mapping[Key, Grid], key: Key, reference: Key, ends: Sequence[tuple[Key, Key]]
) -> Derivations:
    """Derive every point of ``key`` from the same point of ``reference``, scaled by the ratio of the pairs ``ends``.

    Points are matched by their index, not by their shares. A kernel lists the points of all its grids in the same order
    but rounds shares to whole rows or channels, so the same point is a slightly different share on another shape. If
    the grids differ in size, an index does not mean the same point, and nothing is derived.
    """
    keys = [key, reference]
    for pair in ends:
        keys.extend(pair)
    if len({len(grids[each].points) for each in keys}) > 1:
        return
    for index, point in enumerate(grids[key].points):
        ratios = [
            ((numerator, grids[numerator].points[index]), (denominator, grids[denominator].points[index]))
            for numerator, denominator in ends
        ]
        yield (key, point), partial(_scaled, (reference, grids[reference].points[index]), ratios)


def _single_axis_points(grid: Grid, names: Sequence[str]) -> Iterator[tuple[int, Point]]:
    """Yield each point that is reduced on exactly one axis, and its index, if ``names`` contains this axis."""
    for index, point in enumerate(grid.points):
        axes = grid.reduced_axes(point)
        if len(axes) == 1 and grid.names[axes[0]] in names:
            yield index, point


# The keys of one variant of a kernel by the shape of the layer, the shape with the least work first.
Variant = Mapping[tuple[int, ...], Key]


def _variants_of(grids: Mapping[Key, Grid], kernel: str) -> list[Variant]:
    """Return the variants of a kernel, the base variant first.

    The base variant is the denominator of the ratios. It has the most shapes. If several variants have the most shapes,
    the base variant is the one with the largest numbers in its settings.
    """
    variants: dict[object, dict[tuple[int, ...], Key]] = {}
    for key in sorted((key for key in grids if key[0] == kernel), key=lambda key: (_work_of(key), key)):
        variants.setdefault(key[2], {})[_layer_shape(key)] = key
    order = sorted(variants, key=lambda settings: (len(variants[settings]), settings), reverse=True)
    return [variants[settings] for settings in order]


def _work_of(key: Key) -> int:
    """Return a number that grows with the work of a key's shape.

    A convolution's shape begins with the height and width of its input, its input channels, its output channels, and
    the height and width of its kernel (:meth:`gatesearch.kernels.geometry.Geometry.from_shape`). Their product is the
    multiply-accumulates at stride 1. Stride, padding and dilation follow, and do not count here. A recurrent layer's
    shape is steps, inputs and units, and counts as a whole.
    """
    return math.prod(key[1][:WORK_SIZES])


def _layer_shape(key: Key) -> tuple[int, ...]:
    """Return the shape of the layer; a kernel's own shape differs if it splits its input into several operands."""
    kernel, shape, variant = key
    installed = layer_kernels().get(kernel.removesuffix(IN_BYTES))
    return shape if installed is None else installed.layer_shape(shape, dict(variant))


def _variant_pairs(grids: Mapping[Key, Grid]) -> Iterator[tuple[Variant, Variant]]:
    """Yield the base variant of each kernel with each of its other variants."""
    for kernel in dict.fromkeys(key[0] for key in grids):
        base, *others = _variants_of(grids, kernel)
        for variant in others:
            yield base, variant


def _product(full: Hashable, singles: Sequence[Hashable], look_up: LookUp) -> float:
    """Return the time of the full point, times the ratio of each single-axis point's time to the full point's time."""
    return look_up(full) * math.prod(look_up(single) / look_up(full) for single in singles)


def _scaled(reference: Hashable, ratios: Sequence[tuple[Hashable, Hashable]], look_up: LookUp) -> float:
    """Return the time of a reference point times the geometric mean of ratios, each a (numerator, denominator)."""
    product = math.prod(look_up(numerator) / look_up(denominator) for numerator, denominator in ratios)
    return look_up(reference) * product ** (1 / len(ratios))
