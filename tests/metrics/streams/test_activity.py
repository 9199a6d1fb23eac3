"""Tests of activity: the share of hops at which a part of a network runs, and the openings per hop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatesearch.errors import DataError
from gatesearch.metrics.streams import STEADY, Activity, measure_activity


@given(st.lists(st.booleans(), min_size=1, max_size=200))
def test_activity_equals_a_count_by_hand(hops: list[bool]) -> None:
    openings, before = 0, False
    for runs in hops:
        openings += runs and not before
        before = runs
    activity = measure_activity(np.array(hops))
    assert activity == Activity(open_share=sum(hops) / len(hops), openings=openings / len(hops))


def test_the_first_hop_opens_and_a_steady_part_never_does() -> None:
    assert measure_activity(np.ones(4, bool)) == Activity(open_share=1.0, openings=0.25)
    assert Activity(open_share=1.0, openings=0.0) == STEADY
    assert measure_activity(np.zeros(4, bool)) == Activity(open_share=0.0, openings=0.0)


def test_openings_an_hour_count_hops_of_an_hour() -> None:
    # 90,000 hops of 40 ms are an hour
    assert Activity(open_share=0.1, openings=332 / 90_000).openings_per_hour(0.04) == pytest.approx(332)


@pytest.mark.parametrize(("open_share", "openings"), [(1.1, 0.0), (0.1, 0.2), (0.5, -0.1), (float("nan"), 0.0)])
def test_impossible_activities_are_refused(open_share: float, openings: float) -> None:
    with pytest.raises(DataError, match="0 <= openings <= open_share <= 1"):
        Activity(open_share, openings)


@pytest.mark.parametrize("shape", [(0,), (3, 2)])
def test_an_activity_needs_hops(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"wanted: \[hops\]"):
        measure_activity(np.zeros(shape, bool))
