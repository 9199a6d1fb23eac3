"""Tests of Pareto fronts and hypervolume against brute force and Optuna."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna._hypervolume import compute_hypervolume  # private in Optuna, but an independent reference

from gatesearch.search.pareto import dominates, front, hypervolume, unique_front

np = pytest.importorskip("numpy")
coordinates = st.integers(0, 12).map(lambda n: n / 10)
clouds = st.integers(1, 4).flatmap(lambda d: st.lists(st.tuples(*[coordinates] * d), max_size=12))


@given(clouds)
def test_the_front_equals_that_of_brute_force(points: list[tuple[float, ...]]) -> None:
    indices = front(points)
    for i, p in enumerate(points):
        beaten = any(all(a <= b for a, b in zip(q, p, strict=True)) and q != p for q in points)
        assert (i in indices) != beaten
    assert indices == sorted(indices)


@given(clouds.filter(bool))
def test_the_unique_front_holds_each_point_of_the_front_once_in_order(points: list[tuple[float, ...]]) -> None:
    expected = sorted({points[k] for k in front(points)})
    assert [tuple(row) for row in unique_front(np.array(points)).tolist()] == expected


@given(clouds)
def test_domination_is_a_strict_order(points: list[tuple[float, ...]]) -> None:
    for p in points:
        assert not dominates(p, p)
        for q in points:
            assert not (dominates(p, q) and dominates(q, p))


@given(clouds)
def test_hypervolume_never_falls_and_depends_on_the_front_only(points: list[tuple[float, ...]]) -> None:
    if not points:
        return
    reference = (1.0,) * len(points[0])
    volumes = [hypervolume(points[:n], reference) for n in range(len(points) + 1)]
    assert volumes[0] == 0.0 and volumes[-1] <= 1.0 + 1e-9
    assert all(a <= b + 1e-12 for a, b in pairwise(volumes))
    assert volumes[-1] == pytest.approx(hypervolume([points[i] for i in front(points)], reference))


@given(clouds)
def test_hypervolume_agrees_with_optunas(points: list[tuple[float, ...]]) -> None:
    if not points:
        return
    reference = (1.0,) * len(points[0])
    inside = [p for p in points if all(x <= 1 for x in p)]
    theirs = compute_hypervolume(np.array(inside), np.array(reference)) if inside else 0.0
    assert hypervolume(points, reference) == pytest.approx(theirs, abs=1e-12)


@settings(max_examples=5)
@given(st.lists(st.tuples(*[st.floats(0, 1)] * 3), min_size=1, max_size=6))
def test_hypervolume_is_the_share_of_random_points_that_are_dominated(points: list[tuple[float, ...]]) -> None:
    generator, darts = random.Random(0), 4000
    thrown = [tuple(generator.random() for _ in range(3)) for _ in range(darts)]
    hit = sum(any(all(x <= d for x, d in zip(p, dart, strict=True)) for p in points) for dart in thrown)
    assert hypervolume(points, (1.0, 1.0, 1.0)) == pytest.approx(hit / darts, abs=0.04)


def test_a_point_on_or_beyond_the_reference_adds_nothing() -> None:
    assert hypervolume([(0.5, 1.0), (2.0, 0.0)], (1.0, 1.0)) == 0.0
    assert hypervolume([], (1.0, 1.0)) == 0.0
