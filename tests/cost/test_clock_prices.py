"""Tests of prices at the clocks that a plan chooses, and of the listening floor in a price."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatesearch.devices.profile import ClockPoint, Constant, Device
from gatesearch.errors import UserError
from gatesearch.metrics.streams.activity import STEADY, Activity
from gatesearch.plan import GatePlan
from tests.cost.test_model import SHARES, SPLIT, constant, device, model

SLOW = (("mcu", "25MHz"),)
PASSED = {kind: [1.0, 0.5] for kind in SHARES}


def clocked(floor: float | None = None, slow_floor: float | None = None, mhz: float = 25.0) -> Device:
    """Return the device of test_model with a second clock point and, if stated, a listening floor."""
    plain = device()
    mcu = plain.core("mcu")
    point = ClockPoint.model_validate(
        {
            "name": "25MHz",
            "clock_mhz": constant(mhz, "MHz"),
            "active_mw": constant(4.0, "mW"),
            "floor_mw": None if slow_floor is None else constant(slow_floor, "mW"),
        }
    )
    own: dict[str, Any] = {"clocks": (point,)}
    if floor is not None:
        own["floor_mw"] = Constant.model_validate(constant(floor, "mW"))
    return plain.model_copy(update={"cores": (mcu.model_copy(update=own), plain.core("app"))})


def test_a_slower_clock_takes_longer_at_its_own_power() -> None:
    cost = model(device=clocked())
    fast, slow = cost.price(SPLIT, PASSED), cost.price(replace(SPLIT, clocks=SLOW), PASSED)
    fast_stage, slow_stage = cost.stages(SPLIT)[0].cost, cost.stages(replace(SPLIT, clocks=SLOW))[0].cost
    assert slow_stage.latency_us == pytest.approx(4 * fast_stage.latency_us)
    assert slow_stage.compute_uj == pytest.approx(fast_stage.compute_uj * 4 * 4.0 / 10.0)
    assert slow.energy.by_term["frontend"] == pytest.approx(fast.energy.by_term["frontend"] * 1.6)
    assert slow.utilisation["mcu"] == pytest.approx(4 * fast.utilisation["mcu"])
    assert slow.utilisation["app"] == pytest.approx(fast.utilisation["app"])
    assert cost.stages(replace(SPLIT, clocks=SLOW))[1].cost.latency_us == cost.stages(SPLIT)[1].cost.latency_us


def test_the_first_point_costs_what_a_device_without_clocks_costs() -> None:
    assert model(device=clocked()).price(SPLIT, PASSED) == model().price(SPLIT, PASSED)


def test_a_clock_that_is_too_slow_for_the_stream_is_infeasible() -> None:
    plan = GatePlan((), ("mcu",))
    cost = model(device=clocked(mhz=0.001))
    assert cost.violations(plan) == {}
    assert cost.violations(replace(plan, clocks=SLOW)).keys() == {"mcu.utilisation", "mcu.mean utilisation"}
    assert all(plan.clocks == () for plan in cost.ungated_plans())


def test_the_ungated_backbone_runs_at_the_clock_that_needs_the_least_energy() -> None:
    plan, price = model(device=clocked()).ungated()
    assert plan == GatePlan((), ("mcu",))  # a core without a floor runs fast and sleeps
    assert price.energy.total_uj == model().ungated()[1].energy.total_uj
    plan, _ = model(device=clocked(floor=9.0, slow_floor=0.5)).ungated()
    assert plan == GatePlan((), ("mcu",), SLOW)  # a fast clock has a high floor


@given(floor=st.floats(0.01, 9.0), share=st.floats(0.0, 1.0), openings=st.floats(0.0, 1.0))
def test_mean_power_lies_between_floor_and_active_power(floor: float, share: float, openings: float) -> None:
    cost = model(device=clocked(floor=floor, slow_floor=floor / 3))
    plan = GatePlan(SPLIT.gates, ("mcu", "mcu"))
    price = cost.price_stream(plan, [STEADY, STEADY, Activity(share, share * openings)])
    busy = price.utilisation["mcu"]
    others_mw = cost.device.sense.sensor_mw.value + cost.device.core("app").idle_mw.value
    expected_mw = busy * 10.0 + (1 - busy) * floor + others_mw
    assert price.energy.total_uj / cost.period_s / 1e3 == pytest.approx(expected_mw)


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=1), st.booleans())
def test_the_coefficients_of_a_plan_at_a_clock_give_its_price(passed: list[float], slow: bool) -> None:
    cost = model(device=clocked(floor=2.0, slow_floor=1.0))
    plan = replace(SPLIT, clocks=SLOW if slow else ())
    terms = cost.run_costs(plan)
    price = cost.price(plan, {kind: [1.0, *passed] for kind in SHARES})
    us, uj = (terms[0][i] + terms[1][i] + passed[0] * terms[2][i] for i in (0, 1))
    assert (us, uj) == (pytest.approx(price.expected_latency_us), pytest.approx(price.energy.total_uj))


def test_a_plan_with_an_unknown_clock_is_refused() -> None:
    with pytest.raises(UserError, match="core mcu: unknown clock '26MHz'; nearest: '25MHz'"):
        model(device=clocked()).price(replace(SPLIT, clocks=(("mcu", "26MHz"),)), PASSED)
