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
    made = {}
    for variant, size in itertools.product(VARIANTS, SIZES):
        if variant == VARIANTS[-1] and size == SIZES[0]:
            continue  # a layer of one block has no blocks to leave out
        made["hybrid", shape(size), variant] = Grid(
            ("inputs", "outputs", "open"), tuple(itertools.product(SHARES, SHARES, OPEN))
        )
    for size, pieces in itertools.product(SIZES, (1, 2)):
        many = (("pieces", pieces),) if pieces > 1 else ()
        made["pg", (8, 8, size * pieces, *shape(size)[3:]), (("bytes", pieces), *many)] = Grid(
            ("open",), tuple((o,) for o in OPEN)
        )
    return made


def true(key: Key, point: Point) -> float:
    """A time that is a product of what each thing does to it."""
    names = ("inputs", "outputs", "open") if key[0] == "hybrid" else ("open",)
    kept = math.prod(FACTORS[name] if share < 1 else 1.0 for name, share in zip(names, point, strict=True))
    return kept * math.prod(key[1][:4]) ** 0.9 * (1 + 0.1 * len(str(key[2])))


@pytest.mark.parametrize("most", [0, 30, 45, 60, 70, 300])
def test_what_is_derived_is_right_where_times_are_products(most: int) -> None:
    found = grids()
    rest = choose_derivations(found, most)
    every = [(key, point) for key, grid in found.items() for point in grid.points]
    timed = {name: true(*name) for name in every if name not in rest}
    assert timed and rest
    for name, us in resolve(timed, rest).items():
        assert us == pytest.approx(true(*name))  # type: ignore[misc]


def test_no_more_is_spared_than_has_to_be() -> None:
    found = grids()
    total = sum(len(grid.points) for grid in found.values())
    # Without need, what fewer channels save is timed on every variant's smallest and largest shape.
    ample = total - len(choose_derivations(found, total))
    assert total - len(choose_derivations(found, ample - 3)) == ample - 3
    assert total - len(choose_derivations(found, 0)) < ample - 10


def test_a_kernel_alone_is_timed_in_full() -> None:
    grid = Grid(("outputs",), ((0.5,), (1.0,)))
    assert not choose_derivations({("fbs", shape(16), ()): grid, ("fbs", shape(32), ()): grid}, 0)
