"""Tests of prices at other prevalences of positives, and of bounds on the share that a gate stops."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatesearch.cost.stream_shares import shift_prevalence
from gatesearch.report.record.prevalence import early_stop, early_stop_at_least

SHARES = {"positive": 0.2, "silence": 0.6, "unknown": 0.2}


@given(prevalence=st.floats(0, 1))
def test_another_prevalence_keeps_the_mixture_of_negatives(prevalence):
    there = shift_prevalence(SHARES, prevalence)
    assert math.fsum(there.values()) == pytest.approx(1.0)
    assert there["positive"] == prevalence
    assert there["silence"] == pytest.approx(3 * there["unknown"])


@pytest.mark.parametrize(("shares", "prevalence"), [(SHARES, 1.5), (SHARES, -0.1), ({"positive": 1.0}, 0.5)])
def test_impossible_prevalences_are_refused(shares, prevalence):
    with pytest.raises(ValueError, match=r"prevalence lies|no negatives"):
        shift_prevalence(shares, prevalence)


def test_early_stop_weighs_kinds_by_the_stream():
    passed = {"positive": (1.0, 0.99), "silence": (1.0, 0.1, 0.02), "unknown": (1.0, 0.9, 0.6)}
    assert early_stop(SHARES, passed) == pytest.approx(1 - (0.75 * 0.02 + 0.25 * 0.6))


def test_at_the_lower_limit_the_observation_has_probability_one_in_twenty():
    passed = {"positive": (1.0, 1.0), "silence": (1.0, 0.05)}  # 2 of 40 pass
    stop = early_stop_at_least({"positive": 0.5, "silence": 0.5}, passed, {"silence": 40, "positive": 9})
    rate = 1 - stop
    probability = sum(math.comb(40, k) * rate**k * (1 - rate) ** (40 - k) for k in range(3))
    assert probability == pytest.approx(0.05)
    assert stop < 0.95


def test_a_kind_that_always_passes_is_not_stopped_at_all():
    assert early_stop_at_least({"positive": 0.5, "silence": 0.5}, {"silence": (1.0, 1.0)}, {"silence": 10}) == 0.0
