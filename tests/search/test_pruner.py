from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatesearch.search import pareto
from gatesearch.search.pruner import Course, Halving, Standing, forecast, ranked

values = st.floats(0.01, 10.0, allow_nan=False)
points = st.tuples(values, values, values)
standings = st.builds(Standing, points, st.fixed_dictionaries({"accuracy": st.floats(-1.0, 1.0)}))
courses = st.lists(st.fixed_dictionaries({1: standings}), max_size=12)
rules = st.builds(Halving, first=st.just(1), reduction=st.integers(2, 5), epochs=st.just(8), tau=st.just(0.0))


def standing(*point: float, over: float = -1.0) -> Standing:
    return Standing(point, {"accuracy": over})


@given(others=courses, own=standings, rule=rules)
def test_the_only_feasible_plan_goes_on(others: list[Course], own: Standing, rule: Halving) -> None:
    broken: list[Course] = [{1: standing(*c[1].minimised, over=0.1 + abs(c[1].violations["accuracy"]))} for c in others]
    assert rule.keeps(1, Standing(own.minimised, {"accuracy": 0.0}), broken)


@given(others=courses, own=standings, rule=rules)
def test_who_beats_all_others_goes_on(others: list[Course], own: Standing, rule: Halving) -> None:
    assert rule.keeps(1, standing(0.001, 0.001, 0.001), others)


@given(others=courses, own=standings, epochs=st.integers(1, 20), first=st.integers(1, 5))
def test_a_reduction_of_one_prunes_nothing(others: list[Course], own: Standing, epochs: int, first: int) -> None:
    rule = Halving(first, 1, epochs)
    assert all(rule.keeps(epoch, own, others) for epoch in range(1, epochs + 1))


@pytest.mark.parametrize("reduction", [2, 3, 4])
def test_of_those_that_are_beaten_about_one_in_so_many_goes_on(reduction: int) -> None:
    generator, rule = np.random.default_rng(0), Halving(1, reduction, 4, tau=0)
    past: list[Course] = []
    kept = 0
    for _ in range(90):
        own = standing(*[generator.uniform()] * 3)
        kept += rule.keeps(1, own, past)
        past.append({1: own})
    assert 0.8 / reduction < kept / 90 < 1.2 / reduction


def test_those_who_come_first_go_on_and_a_beaten_one_after_them_does_not() -> None:
    rule = Halving(1, 3, 4, tau=0)
    past: list[Course] = [{1: standing(k, k, k)} for k in (1.0, 2.0, 3.0)]
    assert rule.keeps(1, standing(9.0, 9.0, 9.0), past[:2])
    assert not rule.keeps(1, standing(9.0, 9.0, 9.0), past)
    assert not rule.keeps(1, standing(2.5, 2.5, 2.5), past)
    assert rule.keeps(2, standing(9.0, 9.0, 9.0), past)  # no rung
    assert rule.keeps(1, standing(9.0, 9.0, 9.0), [{2: c[1]} for c in past])  # none came by here


def test_a_constraint_is_for_whole_trainings() -> None:
    """After an epoch everybody breaks it; whoever was trained on lost .3 of the excess."""
    rule = Halving(1, 2, 4, tau=0)
    whole: list[Course] = [
        {1: standing(e, 5.0, 5.0, over=e), 4: standing(e - 0.3, 5, 5, over=e - 0.3)} for e in (0.1, 0.2)
    ]
    assert rule.keeps(1, standing(0.25, 1.0, 1.0, over=0.25), whole)
    assert not rule.keeps(1, standing(0.9, 1.0, 1.0, over=0.9), whole)


@given(st.lists(st.tuples(points, st.floats(-1, 1)), min_size=1, max_size=20))
def test_ranks(given_points: list[tuple[tuple[float, float, float], float]]) -> None:
    found, excess = [p for p, _ in given_points], [over for _, over in given_points]
    order = ranked(found, excess)
    assert sorted(order) == list(range(len(found)))
    place = {i: k for k, i in enumerate(order)}
    for i in range(len(found)):
        for j in range(len(found)):
            if excess[i] <= 0 < excess[j] or 0 < excess[i] < excess[j]:
                assert place[i] < place[j]
            if excess[i] <= 0 and excess[j] <= 0 and pareto.dominates(found[i], found[j]):
                assert place[i] < place[j]


@given(others=courses, rule=rules)
def test_whom_nobody_beats_goes_on(others: list[Course], rule: Halving) -> None:
    fine: list[Course] = [{1: standing(*c[1].minimised)} for c in others]
    for k in pareto.front([c[1].minimised for c in fine]) if fine else ():
        assert rule.keeps(1, fine[k][1], fine[:k] + fine[k + 1 :])


@pytest.mark.parametrize(("ends", "goes_on"), [((0.1, 0.2, 0.3, 0.4, 0.5), False), ((0.3, 0.1, 0.5, 0.2, 0.4), True)])
def test_a_rung_that_does_not_tell_gives_nobody_up(ends: tuple[float, ...], goes_on: bool) -> None:
    rule, bad = Halving(1, 3, 4), standing(0.9, 9.0, 9.0)
    whole: list[Course] = [{1: standing(0.5 + e / 10, 1, 1), 4: standing(end, 1, 1)} for e, end in enumerate(ends)]
    assert rule.keeps(1, bad, whole[:4])  # too few to know
    assert rule.keeps(1, bad, whole) == goes_on
    assert rule.keeps(1, bad, [{1: c[1], 4: standing(0.1, 1, 1)} for c in whole])  # all alike in the end


def test_rungs_end_before_the_training_does() -> None:
    assert Halving(1, 3, 3).rungs == (1,)
    assert Halving(2, 2, 9).rungs == (2, 4, 8)
    assert Halving(4, 3, 4).rungs == ()


def test_a_forecast_goes_on_as_others_did() -> None:
    others: list[Course] = [
        {1: standing(0.4, 5, 5, over=0.3), 4: standing(0.2, 4, 4, over=0.1)},
        {1: standing(0.1, 1, 1)},
    ]
    found = forecast(1, 4, standing(0.2, 7.0, 8.0, over=0.25), others)
    assert found is not None and found.standing.minimised == pytest.approx((0.1, 7.0, 8.0))
    assert math.isclose(found.standing.violations["accuracy"], 0.05)
    assert forecast(1, 4, standing(0.2, 7.0, 8.0), others[1:]) is None
    apart: Course = {1: standing(0.2, 5, 5), 4: standing(0.02, 4, 4)}
    unsure = forecast(1, 4, standing(0.2, 7.0, 8.0), [*others, apart])
    assert unsure is not None and unsure.deviation > found.deviation > 0
