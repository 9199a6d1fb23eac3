"""Tests that ``linear_price``, the price that the calibration of gates minimises, equals the cost model's price."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatesearch.metrics.streams import Activity
from gatesearch.pipeline.stream_prices import linear_price, price_details
from tests.cost.test_model import ALL_PLANS, model

COST = model()


@st.composite
def chains(draw: st.DrawFn, parts: int = 4) -> list[Activity]:
    """Draw the activities of parts in a row; no part runs more often than the part before it."""
    shares = sorted((draw(st.floats(0, 1)) for _ in range(parts)), reverse=True)
    return [Activity(share, share * draw(st.floats(0, 1))) for share in shares]


@given(st.sampled_from(ALL_PLANS), chains())
def test_the_linear_price_is_the_price_of_the_cost_model(plan, activities) -> None:
    activities = activities[: len(plan.gates) + 2]
    expected = COST.price_stream(plan, activities).energy.total_uj
    assert linear_price(COST, plan)(activities) == pytest.approx(expected)


def test_a_trial_is_priced_again_at_its_activities() -> None:
    plan = ALL_PLANS[-1]
    rows = [[1.0, 0.0], [1.0, 0.0], [0.5, 0.1], [0.1, 0.01]][: len(plan.gates) + 2]
    details = {"activities": rows, "layers": {}, "passed": {"positive": [1.0] * 3, "noise": [1.0] * 3}}
    expected = COST.price_stream(plan, [Activity(*row) for row in rows]).energy.total_uj
    assert price_details(COST, plan, details).energy.total_uj == pytest.approx(expected)
    del details["activities"]
    expected = COST.price(plan, details["passed"]).energy.total_uj
    assert price_details(COST, plan, details).energy.total_uj == pytest.approx(expected)
