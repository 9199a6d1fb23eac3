"""Derived timings: the timed points suffice, in any order, and the derived ones are exact where times are products."""

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


def shape(size: int) -> tuple[int, ...]:
    return (8, 8, size, size, 3, 3, 1, 1, 1, 1, 1, 1)


def grids() -> dict[Key, Grid]:
    result = {}
    for variant, size in itertools.product(VARIANTS, SIZES):
        if variant == VARIANTS[-1] and size == SIZES[0]:
            continue  # a layer of one block has no blocks to leave out
        result["hybrid", shape(size), variant] = Grid(
            ("inputs", "outputs", "open"), tuple(itertools.product(SHARES, SHARES, OPEN))
        )
    for size, pieces in itertools.product(SIZES, (1, 2)):
        variant = (("pieces", pieces),) if pieces > 1 else ()
        result["pg", (8, 8, size * pieces, *shape(size)[3:]), (("bytes", pieces), *variant)] = Grid(
            ("open",), tuple((o,) for o in OPEN)
        )
    return result


def true_time(key: Key, point: Point) -> float:
    """Return a time that is a product of a factor for the shape, the variant and each share."""
    names = ("inputs", "outputs", "open") if key[0] == "hybrid" else ("open",)
    factor = math.prod(FACTORS[name] if share < 1 else 1.0 for name, share in zip(names, point, strict=True))
    return factor * math.prod(key[1][:4]) ** 0.9 * (1 + 0.1 * len(str(key[2])))


@pytest.mark.parametrize("max_timings", [0, 30, 45, 60, 70, 300])
def test_derived_times_are_exact_where_times_are_products(max_timings: int) -> None:
    all_grids = grids()
    derivations = choose_derivations(all_grids, max_timings)
    points = [(key, point) for key, grid in all_grids.items() for point in grid.points]
    timed = {name: true_time(*name) for name in points if name not in derivations}
    assert timed and derivations
    for name, us in resolve(timed, derivations).items():
        assert us == pytest.approx(true_time(*name))  # type: ignore[misc]


def test_no_more_timings_are_derived_than_the_budget_demands() -> None:
    all_grids = grids()
    total = sum(len(grid.points) for grid in all_grids.values())
    # An ample budget times smaller shares of channels on the smallest and the largest shape of every variant.
    ample = total - len(choose_derivations(all_grids, total))
    assert total - len(choose_derivations(all_grids, ample - 3)) == ample - 3
    assert total - len(choose_derivations(all_grids, 0)) < ample - 10


def test_a_kernel_alone_is_timed_in_full() -> None:
    grid = Grid(("outputs",), ((0.5,), (1.0,)))
    assert not choose_derivations({("fbs", shape(16), ()): grid, ("fbs", shape(32), ()): grid}, 0)
