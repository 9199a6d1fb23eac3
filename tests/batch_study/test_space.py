"""Tests of the search space of one batch size: quasi-random points and moving bounds.

A bound moves if the best point is near it.
"""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatesearch.batch_study.config import Config
from gatesearch.batch_study.space import GROWTH_SHARE, OVERLAP_SHARE, Edge, Range, Space

NAMES = [each.name for each in fields(Space)]


def middle(space: Space) -> Config:
    return Config(**{name: getattr(space, name).value(0.5) for name in NAMES})


def test_points_are_quasi_random_and_the_first_of_a_longer_series() -> None:
    space = Space()
    points = space.sample(16, seed=3)
    assert points == space.sample(16, seed=3) == space.sample(20, seed=3)[:16]
    assert points != space.sample(16, seed=4)
    for name in NAMES:
        places = [getattr(space, name).position(getattr(point, name)) for point in points]
        # Of sixteen points of a Sobol sequence, one lies in each sixteenth of every range.
        assert sorted(math.floor(16 * place) for place in places) == list(range(16))


def test_a_range_of_one_value_gives_that_value() -> None:
    single = Range(1.0, 1.0, 1.0, 1.0)
    space = Space(end=single, decay=replace(single, log=False))
    assert {(p.end, p.decay) for p in space.sample(5, seed=0)} == {(1.0, 1.0)}
    assert not list(space.find_edges(middle(space)))


@given(st.floats(0.0, 1.0), st.booleans())
def test_place_and_value_are_inverse_functions(place: float, log: bool) -> None:
    own = Range(0.01, 10.0, 1e-6, 1e4, log)
    assert own.position(own.value(place)) == pytest.approx(place, abs=1e-9)


@pytest.mark.parametrize(
    ("place", "edges"), [(0.09, [Edge("rate", -1)]), (0.11, []), (0.89, []), (0.91, [Edge("rate", 1)])]
)
def test_a_bound_within_a_tenth_is_an_edge(place: float, edges: list[Edge]) -> None:
    space = Space()
    assert list(space.find_edges(replace(middle(space), rate=space.rate.value(place)))) == edges


def test_a_bound_at_its_limit_is_not_an_edge() -> None:
    space = Space()
    config = replace(middle(space), slack=1.0, decay=0.1, end=1e-3)
    assert not list(space.find_edges(config))
    assert list(space.find_edges(replace(config, slack=0.01))) == [Edge("slack", -1)]


@pytest.mark.parametrize("side", [-1, 1])
def test_moving_a_bound_adds_half_a_width_and_draws_points_there(side: int) -> None:
    space, edge = Space(), Edge("rate", side)
    wider, added = space.extend(edge), space.extension(edge)
    old, new, strip = space.rate, wider.rate, added.rate
    assert (new.low < old.low, new.high > old.high) == (side < 0, side > 0)
    outer, inner = (strip.low, strip.high) if side < 0 else (strip.high, strip.low)
    assert old.position(outer) == pytest.approx(-GROWTH_SHARE if side < 0 else 1 + GROWTH_SHARE)
    assert old.position(inner) == pytest.approx(OVERLAP_SHARE if side < 0 else 1 - OVERLAP_SHARE)
    assert replace(wider, rate=old) == space == replace(added, rate=old)


def test_bounds_do_not_move_beyond_their_limits() -> None:
    assert Range(0.01, 1.0, 0.005, 1.0).extend(-1).low == 0.005
    assert Range(0.01, 1.0, 0.005, 2.0).extend(1).high == 2.0


def test_the_range_of_rates_has_the_same_width_around_any_centre() -> None:
    for rate in (0.01, 3.0):
        own = Space().centre(rate, 10.0).rate
        assert own.value(0.5) == pytest.approx(rate) and own.high / own.low == pytest.approx(100.0)
