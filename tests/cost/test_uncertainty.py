"""Tests of the interval of a price from the ranges of a device's constants, and of the life of a battery."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatesearch.cost.battery import battery_days
from gatesearch.cost.model import CostModel
from gatesearch.cost.uncertainty import find_interval
from gatesearch.plan import GatePlan
from gatesearch.recipe.schema.choice import Battery
from tests.cost.test_model import SHARES, SPLIT, device, model

PASSED = {kind: [1.0, 0.5] for kind in SHARES}


def with_ranges(**ranges: tuple[float | None, float | None]) -> CostModel:
    """Return the cost model of test_model, with ranges of constants of the core ``mcu``."""
    plain = device()
    mcu = plain.core("mcu")
    updates: dict[str, Any] = {
        name: getattr(mcu, name).model_copy(update={"low": low, "high": high}) for name, (low, high) in ranges.items()
    }
    return model(device=plain.model_copy(update={"cores": (mcu.model_copy(update=updates), plain.core("app"))}))


def energy(cost: CostModel) -> float:
    return cost.price(SPLIT, PASSED).energy.total_uj


def test_without_ranges_the_interval_is_the_figure() -> None:
    interval = find_interval(model(), energy)
    assert interval.low == interval.nominal == interval.high == energy(model())
    assert interval.effects == ()


def test_the_range_of_one_constant_gives_the_prices_at_its_ends() -> None:
    interval = find_interval(with_ranges(active_mw=(8.0, 15.0)), energy)
    assert interval.low == pytest.approx(energy_at(8.0)) and interval.high == pytest.approx(energy_at(15.0))
    assert [effect.constant for effect in interval.effects] == ["cores.mcu.active_mw"]


def energy_at(active_mw: float) -> float:
    """Return the energy with another active power of the core mcu, to which its compute energy is proportional."""
    nominal, terms = energy(model()), model().price(SPLIT, PASSED).energy
    own = terms.by_stage[0]["compute"] + terms.by_term["frontend"]
    return nominal + own * (active_mw / 10.0 - 1)


@given(
    active=st.tuples(st.floats(1.0, 10.0), st.floats(10.0, 50.0)),
    idle=st.tuples(st.floats(0.0, 0.05), st.floats(0.05, 9)),
)
def test_independent_deviations_add_in_quadrature(active: tuple[float, float], idle: tuple[float, float]) -> None:
    both = find_interval(with_ranges(active_mw=active, idle_mw=idle), energy)
    alone = [
        find_interval(with_ranges(**{name: ends}), energy) for name, ends in (("active_mw", active), ("idle_mw", idle))
    ]
    above = math.hypot(*(one.high - one.nominal for one in alone))
    below = math.hypot(*(one.nominal - one.low for one in alone))
    assert both.high == pytest.approx(both.nominal + above) and both.low == pytest.approx(both.nominal - below)
    assert both.low <= both.nominal <= both.high
    swings = [effect.high - effect.low for effect in both.effects]
    assert swings == sorted(swings, reverse=True)


def test_a_rate_that_is_lower_than_stated_raises_the_energy() -> None:
    plain = device()
    mcu = plain.core("mcu")
    slow = mcu.timing.instructions_per_cycle.model_copy(update={"low": 0.5})  # type: ignore[union-attr]
    timing = mcu.timing.model_copy(update={"instructions_per_cycle": slow})
    cores = (mcu.model_copy(update={"timing": timing}), plain.core("app"))
    cost = model(device=plain.model_copy(update={"cores": cores}))
    interval = find_interval(
        cost, lambda one: one.price(GatePlan((), ("mcu",)), {k: [1.0] for k in SHARES}).energy.total_uj
    )
    assert interval.low == interval.nominal < interval.high


def test_the_life_of_a_battery_equals_that_computed_by_hand() -> None:
    assert battery_days(Battery(mah=1000.0, volts=1.2, efficiency=1.0), 50.0) == pytest.approx(1.0)
    assert battery_days(Battery(mah=1000.0, volts=1.2, efficiency=0.5), 50.0) == pytest.approx(0.5)
    assert battery_days(Battery(mah=1000.0, volts=1.2), 0.0) is None
