"""Confidence intervals equal the values of textbooks; a short stream cannot prove a low rate of false accepts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gatesearch.metrics.streams import binomial_interval, doubt_about, enough_for, hours_for, poisson_interval

confidences = st.sampled_from([0.8, 0.9, 0.95, 0.99])


@given(st.integers(1, 2000), st.floats(0.01, 100), confidences)
def test_poisson_bounds_are_chi_square_quantiles(count: int, hours: float, confidence: float) -> None:
    tail = (1 - confidence) / 2
    low, high = poisson_interval(count, hours, confidence)
    assert low == pytest.approx(stats.chi2.ppf(tail, 2 * count) / 2 / hours)
    assert high == pytest.approx(stats.chi2.ppf(1 - tail, 2 * count + 2) / 2 / hours)
    assert low < count / hours < high


def test_without_a_false_accept_the_upper_bound_is_three_divided_by_the_hours() -> None:
    low, high = poisson_interval(0, 4.0)
    assert low == 0 and high == pytest.approx(3 / 4, rel=0.002)
    assert stats.poisson.pmf(0, high * 4.0) == pytest.approx(0.05)


@given(st.data(), st.integers(1, 400), confidences)
def test_binomial_bounds_are_those_of_clopper_and_pearson(data: st.DataObject, total: int, confidence: float) -> None:
    count = data.draw(st.integers(0, total))
    exact = stats.binomtest(count, total).proportion_ci(confidence, method="exact")
    assert binomial_interval(count, total, confidence) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_the_interval_of_six_of_fifty_is_that_of_published_tables() -> None:
    assert binomial_interval(6, 50) == pytest.approx((0.0453, 0.2431), abs=5e-5)


@given(st.floats(0.01, 100), st.floats(0.01, 1000), confidences)
def test_a_stream_is_long_enough_if_silence_on_it_would_prove_the_claim(
    rate: float, hours: float, confidence: float
) -> None:
    proves = poisson_interval(0, hours, confidence).high <= rate
    assert enough_for(rate, hours, confidence) == proves or hours == pytest.approx(hours_for(rate, confidence))
    assert (doubt_about(rate, hours, confidence) is None) == enough_for(rate, hours, confidence)


def test_no_stream_is_long_enough_for_a_claim_of_no_false_accept() -> None:
    doubt = doubt_about(0.0, 1e6)
    assert doubt is not None and doubt.endswith("no length is enough")
