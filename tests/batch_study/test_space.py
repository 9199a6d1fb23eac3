from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatesearch.batch_study.space import GROWTH, OVERLAP, Config, Edge, Range, Space

NAMES = [each.name for each in fields(Space)]


def middle(space: Space) -> Config:
    return Config(**{name: getattr(space, name).at(0.5) for name in NAMES})


def test_points_are_quasi_random_the_same_again_and_a_prefix_of_more() -> None:
    space = Space()
    points = space.points(16, seed=3)
    assert points == space.points(16, seed=3) == space.points(20, seed=3)[:16]
    assert points != space.points(16, seed=4)
    for name in NAMES:
        places = [getattr(space, name).place(getattr(point, name)) for point in points]
        # Sixteen points of a Sobol sequence: one in each sixteenth of every range.
        assert sorted(math.floor(16 * place) for place in places) == list(range(16))


def test_a_range_of_one_value_is_kept() -> None:
    one = Range(1.0, 1.0, 1.0, 1.0)
    space = Space(end=one, decay=replace(one, log=False))
    assert {(p.end, p.decay) for p in space.points(5, seed=0)} == {(1.0, 1.0)}
    assert not list(space.edges(middle(space)))


@given(st.floats(0.0, 1.0), st.booleans())
def test_place_and_value_are_each_others_opposite(place: float, log: bool) -> None:
    own = Range(0.01, 10.0, 1e-6, 1e4, log)
    assert own.place(own.at(place)) == pytest.approx(place, abs=1e-9)


@pytest.mark.parametrize(
    ("place", "edges"), [(0.09, [Edge("rate", -1)]), (0.11, []), (0.89, []), (0.91, [Edge("rate", 1)])]
)
def test_a_bound_within_a_tenth_is_an_edge(place: float, edges: list[Edge]) -> None:
    space = Space()
    assert list(space.edges(replace(middle(space), rate=space.rate.at(place)))) == edges


def test_an_edge_that_cannot_be_moved_is_none() -> None:
    space = Space()
    config = replace(middle(space), slack=1.0, decay=0.1, end=1e-3)
    assert not list(space.edges(config))
    assert list(space.edges(replace(config, slack=0.01))) == [Edge("slack", -1)]


@pytest.mark.parametrize("side", [-1, 1])
def test_moving_a_bound_adds_half_a_width_and_searches_what_is_new(side: int) -> None:
    space, edge = Space(), Edge("rate", side)
    wider, added = space.extended(edge), space.added(edge)
    old, new, strip = space.rate, wider.rate, added.rate
    assert (new.low < old.low, new.high > old.high) == (side < 0, side > 0)
    outer, inner = (strip.low, strip.high) if side < 0 else (strip.high, strip.low)
    assert old.place(outer) == pytest.approx(-GROWTH if side < 0 else 1 + GROWTH)
    assert old.place(inner) == pytest.approx(OVERLAP if side < 0 else 1 - OVERLAP)
    assert replace(wider, rate=old) == space == replace(added, rate=old)


def test_bounds_stop_where_they_must() -> None:
    assert Range(0.01, 1.0, 0.005, 1.0).extended(-1).low == 0.005
    assert Range(0.01, 1.0, 0.005, 2.0).extended(1).high == 2.0


def test_rates_are_as_wide_wherever_they_are_centred() -> None:
    for rate in (0.01, 3.0):
        own = Space().centred(rate, 10.0).rate
        assert own.at(0.5) == pytest.approx(rate) and own.high / own.low == pytest.approx(100.0)
