"""Tests of the choice of observations from which the sampler predicts in a long search."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gatesearch.search.sampler.gp import MAX_OBSERVATIONS
from gatesearch.search.sampler.posterior import select_places


@given(st.integers(MAX_OBSERVATIONS + 1, 6000), st.data())
def test_a_bounded_number_is_chosen_with_the_front_the_newest_and_the_first(count: int, data: st.DataObject) -> None:
    front = data.draw(st.lists(st.integers(0, count - 1), max_size=MAX_OBSERVATIONS // 2, unique=True))
    places = select_places(count, front)
    assert places == sorted(set(places)) and MAX_OBSERVATIONS // 2 <= len(places) <= MAX_OBSERVATIONS
    assert {0, count - 1, *front} <= set(places)


@given(st.integers(600, 5000))
def test_older_observations_stay_chosen_while_a_search_grows(count: int) -> None:
    before = set(select_places(count, ()))
    late = [place for k in range(count + 1, count + 51) for place in set(select_places(k, ())) - before]
    assert all(place >= count for place in late)  # none but new observations are added
