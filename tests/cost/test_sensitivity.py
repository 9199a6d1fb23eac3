"""Tests of sensitivity: how figures and the picked plan change with assumed constants."""

from __future__ import annotations

from typing import Any

import pytest

from gatesearch.cost.model import CostModel
from gatesearch.cost.sensitivity import MeasuredPlan, Sensitivity, scale_constants, sensitivity
from gatesearch.devices.profile import Device, list_constants, load
from gatesearch.metrics.streams import STEADY, Activity
from gatesearch.plan import GatePlan
from tests.cost.test_model import SPLIT, device, model

PASSED = {"positive": [1.0, 0.9], "noise": [1.0, 0.1]}
ALONE = GatePlan((), ("mcu",))
MEASURED = MeasuredPlan(SPLIT, PASSED)


def cheapest(cost: CostModel) -> GatePlan:
    """Return the plan that takes less energy: SPLIT sometimes wakes the application core, and ALONE never does."""
    prices = {SPLIT: cost.price(SPLIT, PASSED), ALONE: cost.price(ALONE, {kind: [1.0] for kind in PASSED})}
    return min(prices, key=lambda plan: prices[plan].energy.total_uj)


def compute_sensitivity(**more: Any) -> Sensitivity:
    return sensitivity(model(**more), MEASURED, cheapest)


def with_value(of: Device, path: str, value: float, provenance: str = "assumed") -> Device:
    """Return the device with another value and provenance of one constant."""
    written = of.model_dump()
    node: Any = written
    for part in path.split("."):
        node = next(item for item in node if item["name"] == part) if isinstance(node, tuple) else node[part]
    node |= {"value": value, "provenance": provenance}
    return Device.model_validate(written)


def test_one_constant_changes_the_energy_as_computed_by_hand() -> None:
    rows = {row.name: row for row in compute_sensitivity().constants}
    base = model().price(SPLIT, PASSED).energy
    moved = rows["cores.app.wake_uj"].answers
    assert set(moved) == {0.5, 1.5}
    assert moved[1.5].energy_uj == pytest.approx(base.total_uj + base.by_term["wake"] / 2)
    assert moved[0.5].energy_uj == pytest.approx(base.total_uj - base.by_term["wake"] / 2)
    # Only the gated plan wakes the core, so the ungated energy does not change.
    assert moved[1.5].ungated_uj == moved[0.5].ungated_uj == compute_sensitivity().nominal.ungated_uj
    assert moved[0.5].gain > compute_sensitivity().nominal.gain > moved[1.5].gain


def test_groups_move_their_constants_together() -> None:
    groups = {row.name: row for row in compute_sensitivity().groups}
    base = model().price(SPLIT, PASSED).energy
    powers = groups["all powers"]
    assert {path.rpartition(".")[2] for path in powers.constants} == {"active_mw", "idle_mw", "sensor_mw"}
    of_powers = base.total_uj - base.by_term["wake"] - base.by_term["link"] - base.by_term["weights"]
    assert powers.answers[1.5].energy_uj == pytest.approx(base.total_uj + of_powers / 2)
    assert set(groups) == {"all powers", "all wake-ups", "all links"}
    assert groups["all links"].answers[0.5].energy_uj < base.total_uj


def test_the_pick_flips_where_a_wake_up_costs_more() -> None:
    # The microcontroller needs 1 W, so the split plan saves energy by using it less. ``break_even`` is the energy of a
    # wake-up at which that saving is lost.
    hungry = with_value(device(), "cores.mcu.active_mw", 1000.0)
    free = model(device=with_value(hungry, "cores.app.wake_uj", 0.0))
    everywhere = {kind: [1.0] for kind in PASSED}
    saved = free.price(ALONE, everywhere).energy.total_uj - free.price(SPLIT, PASSED).energy.total_uj
    break_even = saved / (0.2 * 0.9 + 0.8 * 0.1)
    expensive_device = with_value(hungry, "cores.app.wake_uj", break_even / 1.25)
    result = compute_sensitivity(device=expensive_device)
    rows = {row.name: row for row in result.constants}
    assert result.nominal.picked == SPLIT
    assert rows["cores.app.wake_uj"].answers[0.5].picked == SPLIT
    assert rows["cores.app.wake_uj"].answers[1.5].picked == ALONE
    assert rows["cores.app.wake_uj"].flips(result.nominal)
    assert [row.name for row in result.groups if row.flips(result.nominal)] == ["all powers", "all wake-ups"]
    assert not rows["sense.sensor_mw"].flips(result.nominal)


def test_only_assumed_constants_move_and_zeros_are_named() -> None:
    measured = with_value(device(), "cores.app.wake_uj", 40.0, "measured")
    result = compute_sensitivity(device=measured)
    names = {row.name for row in result.constants}
    assert "cores.app.wake_uj" not in names and "cores.app.wake_us" in names
    assert "cores.mcu.wake_us" in result.unmoved and "cores.mcu.wake_us" not in names
    [wakes] = [row for row in result.groups if row.name == "all wake-ups"]
    assert wakes.constants == ("cores.app.wake_us",)


def test_the_widest_swings_come_first_and_all_together_go_further() -> None:
    result = compute_sensitivity()
    swings = [row.swing for row in result.constants]
    assert swings == sorted(swings, reverse=True) and swings[0] > 1
    low, high = result.gains
    worst, best = result.together
    assert worst.gain < min(answer.gain for row in result.constants for answer in row.answers.values())
    assert best.gain > max(answer.gain for row in result.constants for answer in row.answers.values())
    assert low <= result.nominal.gain <= high


def test_scaling_changes_the_named_constants_only() -> None:
    before = load("three_core")
    after = scale_constants(before, {"cores.npu.wake_us": 1.5, "links.mcu-npu.mb_per_s": 0.5})
    changed = {
        a: (b.value, c.value) for (a, b), (_, c) in zip(list_constants(before), list_constants(after), strict=True)
    }
    assert {path for path, (b, c) in changed.items() if b != c} == {"cores.npu.wake_us", "links.mcu-npu.mb_per_s"}
    assert changed["cores.npu.wake_us"] == (200.0, 300.0)
    with pytest.raises(ValueError, match="nothing"):
        scale_constants(before, {"cores.npu.nothing": 0.5})


def test_a_plan_on_a_stream_is_priced_by_its_activities() -> None:
    cost = model()
    activities = (STEADY, STEADY, Activity(open_share=0.2, openings=0.05))
    measured = MeasuredPlan(SPLIT, PASSED, activities=activities)
    result = sensitivity(cost, measured, cheapest)
    assert result.nominal.energy_uj == pytest.approx(cost.price_stream(SPLIT, activities).energy.total_uj)
    ungated = cost.price_stream(cost.ungated()[0], (STEADY, STEADY))
    assert result.nominal.ungated_uj == pytest.approx(ungated.energy.total_uj)
    low, high = result.gains
    assert low < result.nominal.gain < high
