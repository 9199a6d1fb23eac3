"""Tests of the price of a plan over a stream, from the costs of a hop and of a whole window.

A hop is the time from one decision to the next. A stage computes a whole window at the hop at which its gate opens, and
only new frames at any other hop.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatesearch.cost.frontend import FrontendWork
from gatesearch.cost.price import Price, StageEstimate
from gatesearch.cost.stream_price import WindowAndHop, price_by_hops
from gatesearch.metrics.streams.activity import STEADY, Activity
from gatesearch.plan import GatePlan
from tests.cost import test_exits as exits
from tests.cost.test_model import SHARES, SPLIT, device, model

FRONTEND_US = WindowAndHop(window=40.0, hop=2.0)
WINDOWS = model().stages(SPLIT)
HOPS = model(frontend=FrontendWork(50)).stages(GatePlan(SPLIT.gates, ("mcu", "mcu")))


@st.composite
def activities(draw: st.DrawFn, stages: int = 2) -> list[Activity]:
    """Draw the activities of a front end and of stages; no stage runs more often than the one before it."""
    result, share = [], 1.0
    for _ in range(stages + 1):
        share *= draw(st.floats(0.0, 1.0))
        result.append(Activity(share, share * draw(st.floats(0.0, 1.0))))
    return result


def test_a_part_that_opens_costs_a_window_and_then_hops() -> None:
    price = price_by_hops(
        WINDOWS, HOPS, [STEADY, STEADY, Activity(0.3, 0.1)], device=device(), frontend_us=FRONTEND_US, period_s=0.04
    )
    assert price.reach == (1.0, 0.3)
    first, last = HOPS
    assert price.expected_macs == pytest.approx(first.macs + 0.1 * WINDOWS[1].macs + 0.2 * last.macs)
    mean_us = 2 + first.cost.total_us + 0.1 * WINDOWS[1].cost.total_us + 0.2 * last.cost.total_us
    assert price.expected_latency_us == pytest.approx(mean_us)
    # The last stage catches up in the hop that takes longest. The front end and the first stage never catch up.
    assert price.longest_latency_us == pytest.approx(2 + first.cost.total_us + WINDOWS[1].cost.total_us)
    compute = first.cost.compute_uj + 0.1 * WINDOWS[1].cost.compute_uj + 0.2 * last.cost.compute_uj
    assert price.energy.by_term["compute"] == pytest.approx(compute)
    assert price.energy.by_term["frontend"] == pytest.approx(2 * 0.01)
    assert sum(price.energy.by_core.values()) == pytest.approx(price.energy.total_uj)
    assert price.worst_utilisation["mcu"] == pytest.approx((2 + first.cost.total_us + last.cost.total_us) / 40_000)


@given(activities())
def test_more_openings_or_open_hops_never_cost_less(activities: list[Activity]) -> None:
    def energy(own: list[Activity]) -> float:
        price = price_by_hops(WINDOWS, HOPS, own, device=device(), frontend_us=FRONTEND_US, period_s=0.04)
        return price.energy.total_uj

    for k, activity in enumerate(activities):
        other = list(activities)
        other[k] = Activity(activity.open_share, activity.open_share)
        assert energy(other) >= energy(activities) - 1e-9
        other[k] = Activity(1.0, activity.openings)
        assert energy(other) >= energy(activities) - 1e-9


@given(activities())
def test_where_a_hop_costs_a_window_openings_cost_nothing(activities: list[Activity]) -> None:
    steady_front = [STEADY, STEADY, activities[2]]
    share = activities[2].open_share
    by_hops = model().price_stream(SPLIT, steady_front)
    by_windows = model().price(SPLIT, {kind: [1.0, share] for kind in SHARES})
    assert by_hops.energy.total_uj == pytest.approx(by_windows.energy.total_uj)
    assert by_hops.expected_latency_us == pytest.approx(by_windows.expected_latency_us)
    assert by_hops.utilisation == pytest.approx(by_windows.utilisation)
    assert by_hops.worst_utilisation == pytest.approx(by_windows.worst_utilisation)


def test_an_exit_runs_at_the_hops_that_the_next_stage_does_not_run() -> None:
    cost = exits.cost_model()
    price = cost.price_stream(exits.PLAN, [STEADY, STEADY, Activity(0.25, 0.05)])
    by_windows = cost.price(exits.PLAN, exits.LEAVING)
    assert price.exits == {0: pytest.approx(by_windows.exits[0])}
    assert price.longest_latency_us == pytest.approx(by_windows.longest_latency_us)
    assert price.energy.total_uj == pytest.approx(by_windows.energy.total_uj)


def test_each_stage_has_one_activity() -> None:
    stages: tuple[StageEstimate, ...] = WINDOWS
    with pytest.raises(ValueError, match="2 stages have 1 activities"):
        price_by_hops(stages, stages, [STEADY, STEADY], device=device(), frontend_us=FRONTEND_US, period_s=0.04)


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.integers(1, 4))
def test_every_phase_catches_up_where_a_gate_opens(share: float, opened: float, phases: int) -> None:
    def price(openings: float, phases: int) -> Price:
        own = [STEADY, STEADY, Activity(share, openings)]
        return price_by_hops(WINDOWS, HOPS, own, device=device(), frontend_us=FRONTEND_US, period_s=0.04, phases=phases)

    in_phases = price(share * opened, phases)
    alone = price(min(share, phases * share * opened), 1)
    assert in_phases.energy.total_uj == pytest.approx(alone.energy.total_uj)
    assert in_phases.energy.total_uj >= price(share * opened, 1).energy.total_uj - 1e-9
