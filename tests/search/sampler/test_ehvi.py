"""Tests of expected hypervolume improvement against exact volumes and means over random draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatesearch.search import pareto
from gatesearch.search.sampler.ehvi import LogNormal, expected_improvement

REFERENCE = (1.0, 1.0, 1.0)
share = st.floats(0.01, 1.2)
point = st.tuples(share, share, share)


@given(st.lists(point, max_size=6), st.lists(point, min_size=1, max_size=4))
def test_a_plan_without_uncertainty_improves_by_its_exact_volume(
    front: list[tuple[float, ...]], candidates: list[tuple[float, ...]]
):
    before = pareto.hypervolume(front, REFERENCE)
    expected = [pareto.hypervolume([*front, new], REFERENCE) - before for new in candidates]
    quality, costs = np.array([new[0] for new in candidates]), np.array([new[1:] for new in candidates])
    belief = LogNormal(np.log(quality), np.zeros(len(candidates)))
    np.testing.assert_allclose(expected_improvement(belief, costs, front, REFERENCE), expected, atol=1e-6)


def test_an_uncertain_plan_improves_by_the_mean_over_draws():
    generator = np.random.default_rng(0)
    front = [(0.3, 0.8, 0.4), (0.5, 0.3, 0.6), (0.7, 0.2, 0.2)]
    mean, deviation, costs = -0.7, 0.3, (0.25, 0.5)
    draws = np.exp(generator.normal(mean, deviation, 4000))
    before = pareto.hypervolume(front, REFERENCE)
    added = [pareto.hypervolume([*front, (draw, *costs)], REFERENCE) - before for draw in draws]
    belief = LogNormal(np.array([mean]), np.array([deviation]))
    [result] = expected_improvement(belief, np.array([costs]), front, REFERENCE)
    assert result == pytest.approx(np.mean(added), abs=4 * np.std(added) / 4000**0.5)


def test_a_plan_that_costs_more_than_the_reference_adds_nothing():
    belief = LogNormal(np.log([0.1, 0.1, 0.1]), np.full(3, 0.1))
    costs = np.array([[1.1, 0.1], [0.1, 1.0], [np.inf, np.inf]])
    assert expected_improvement(belief, costs, [], REFERENCE).tolist() == [0, 0, 0]


@pytest.mark.filterwarnings("error")
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)), max_size=4))
def test_a_front_with_a_plan_without_errors_gives_finite_numbers_and_no_warning(others):
    front = [(0.0, 0.5, 0.5), *others]
    error = LogNormal(np.log([1e-3, 0.1]), np.array([0.5, 1e-9]))
    gains = expected_improvement(error, np.array([[0.6, 0.6], [0.2, 0.3]]), front, (1.0, 1.0, 1.0))
    assert np.isfinite(gains).all() and (gains >= -1e-9).all()


@settings(deadline=None)
@given(st.data(), st.integers(1, 4), st.integers(1, 12))
def test_candidates_may_have_their_errors_in_common(data: st.DataObject, errors: int, candidates: int) -> None:
    values = st.floats(0.05, 0.95)
    error_of = np.array(data.draw(st.lists(st.integers(0, errors - 1), min_size=candidates, max_size=candidates)))
    mean = np.log(data.draw(st.lists(values, min_size=errors, max_size=errors)))
    costs = np.array(data.draw(st.lists(st.tuples(values, values), min_size=candidates, max_size=candidates)))
    front = data.draw(st.lists(st.tuples(values, values, values), max_size=5))
    shared = LogNormal(mean, np.full(errors, 0.2))
    own = LogNormal(mean[error_of], np.full(candidates, 0.2))
    together = expected_improvement(shared, costs, front, (1.0, 1.0, 1.0), error_of)
    np.testing.assert_allclose(together, expected_improvement(own, costs, front, (1.0, 1.0, 1.0)), rtol=1e-12)
