"""Tests of rules that derive kernel timings from other timings.

The rules are exact for timings that are products of factors. The timing budget decides how many timings are derived.
"""

from __future__ import annotations

import itertools
import math

import pytest

from gatesearch.cost.kernel_costs import Key, Point
from gatesearch.cost.timing_rules import Grid, choose_derivations, resolve

SIZES = (16, 32, 48, 64, 96)
VARIANTS = ((("block", 1), ("group", 1)), (("block", 1), ("group", 16)), (("block", 16), ("group", 16)))
SHARES, OPEN = (0.5, 1.0), (0.0, 1.0)
FACTORS = {"inputs": 0.6, "outputs": 0.55, "open": 0.7}


def conv_shape(size: int) -> tuple[int, ...]:
    return (8, 8, size, size, 3, 3, 1, 1, 1, 1, 1, 1)


def build_grids() -> dict[Key, Grid]:
    grids = {}
    for variant, size in itertools.product(VARIANTS, SIZES):
        if variant == VARIANTS[-1] and size == SIZES[0]:
            continue  # a layer of one block has no block that a kernel can skip
        grids["hybrid", conv_shape(size), variant] = Grid(
            ("inputs", "outputs", "open"), tuple(itertools.product(SHARES, SHARES, OPEN))
        )
    for size, pieces in itertools.product(SIZES, (1, 2)):
        variant = (("pieces", pieces),) if pieces > 1 else ()
        grids["pg", (8, 8, size * pieces, *conv_shape(size)[3:]), (("bytes", pieces), *variant)] = Grid(
            ("open",), tuple((share,) for share in OPEN)
        )
    return grids


def compute_time(key: Key, point: Point) -> float:
    """Return a time that is a product of factors: one for the shape, one for the variant, one for each share."""
    names = ("inputs", "outputs", "open") if key[0] == "hybrid" else ("open",)
    factor = math.prod(FACTORS[name] if share < 1 else 1.0 for name, share in zip(names, point, strict=True))
    return factor * math.prod(key[1][:4]) ** 0.9 * (1 + 0.1 * len(str(key[2])))


@pytest.mark.parametrize("max_timings", [0, 30, 45, 60, 70, 300])
def test_derived_times_are_exact_where_times_are_products(max_timings: int) -> None:
    grids = build_grids()
    derivations = choose_derivations(grids, max_timings)
    points = [(key, point) for key, grid in grids.items() for point in grid.points]
    timed = {name: compute_time(*name) for name in points if name not in derivations}
    assert timed and derivations
    for name, us in resolve(timed, derivations).items():
        assert us == pytest.approx(compute_time(*name))  # type: ignore[misc]


def test_the_budget_limits_the_number_of_derived_timings() -> None:
    grids = build_grids()
    total = sum(len(grid.points) for grid in grids.values())
    # Even with an ample budget, shares below 1 are timed only on the smallest and the largest shape of a variant.
    ample = total - len(choose_derivations(grids, total))
    assert total - len(choose_derivations(grids, ample - 3)) == ample - 3
    assert total - len(choose_derivations(grids, 0)) < ample - 10


def test_a_kernel_without_variants_has_no_derived_timings() -> None:
    grid = Grid(("outputs",), ((0.5,), (1.0,)))
    assert not choose_derivations({("fbs", conv_shape(16), ()): grid, ("fbs", conv_shape(32), ()): grid}, 0)
