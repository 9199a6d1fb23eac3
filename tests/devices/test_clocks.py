"""Tests of clock points and of the listening floor in a device profile."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from gatesearch.devices import profile
from gatesearch.errors import UserError


def constant(value: float, unit: str = "mW") -> dict[str, Any]:
    return {"value": value, "unit": unit, "provenance": "assumed", "source": "made up for this test"}


def point(name: str, mhz: float, active: float, floor: float | None = None) -> dict[str, Any]:
    powers = {"active_mw": constant(active)} | ({} if floor is None else {"floor_mw": constant(floor)})
    return {"name": name, "clock_mhz": constant(mhz, "MHz"), **powers}


@pytest.fixture()
def load(tmp_path: Path):
    """Return a function that changes the cores of three_core by name, and loads the profile."""
    written = yaml.safe_load(profile.shipped()["three_core"].read_text())

    def load_changed(**changes: dict[str, Any]) -> profile.Device:
        content = copy.deepcopy(written)
        for core in content["cores"]:
            core.update(changes.get(core["name"], {}))
        file = tmp_path / "mine.yaml"
        file.write_text(yaml.safe_dump(content))
        return profile.load(file)

    return load_changed


SLOW = point("30MHz", 30.0, 3.0)


def test_times_scale_with_the_clock_and_powers_are_those_of_the_point(load):
    device = load(mcu={"clocks": [SLOW]})
    assert device.core("mcu").clock_names == ("120MHz", "30MHz")
    slow = device.at_clocks((("mcu", "30MHz"),)).core("mcu")
    assert slow.latency_us(1e6) == pytest.approx(4 * device.core("mcu").latency_us(1e6))
    assert slow.timing.frontend_us(1e6) == pytest.approx(4 * device.core("mcu").timing.frontend_us(1e6))
    assert slow.active_mw.value == 3.0 and slow.idle_mw == device.core("mcu").idle_mw
    assert device.at_clocks((("mcu", "120MHz"),)) == device == device.at_clocks(())


def test_the_rate_of_a_core_without_a_table_scales_with_its_clock(load):
    timing = {"model": "throughput", "macs_per_us": constant(100, "MAC/us"), "clock_mhz": constant(50, "MHz")}
    device = load(mcu={"timing": timing, "clocks": [point("fast", 100.0, 9.0)]})
    fast = device.at_clocks((("mcu", "fast"),)).core("mcu").timing
    assert (fast.latency_us(1000.0), fast.frontend_us(1000.0)) == (5.0, 5.0)


def test_only_cores_with_several_clock_points_have_slots(load):
    assert profile.list_clock_slots(load()) == ()
    slots = profile.list_clock_slots(load(mcu={"clocks": [SLOW]}, npu={"clocks": [point("low", 50.0, 5.0)]}))
    assert [(slot.core, slot.points, slot.always) for slot in slots] == [
        ("mcu", ("120MHz", "30MHz"), True),
        ("npu", ("250MHz", "low"), False),
    ]
    assert profile.clock_choices(slots, ["app"]) == [(), (("mcu", "30MHz"),)]
    assert len(profile.clock_choices(slots, ["npu"])) == 4


def test_the_core_of_the_sensor_rests_at_its_floor_and_a_run_adds_the_difference(load):
    device = load(mcu={"floor_mw": constant(4.0)}, npu={"floor_mw": constant(9.0)})
    assert device.resting_mw == {"mcu": 4.0, "npu": 0.01, "app": 0.02}
    assert device.added_uj(device.core("mcu"), 1000.0) == pytest.approx(10.0 - 4.0)
    assert device.added_uj(device.core("npu"), 1000.0) == pytest.approx(60.0)
    without_floor = load()
    assert without_floor.resting_mw["mcu"] == without_floor.core("mcu").idle_mw.value
    assert without_floor.added_uj(without_floor.core("mcu"), 1000.0) == without_floor.core("mcu").compute_uj(1000.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"floor_mw": constant(-1.0)}, "cores.mcu.floor_mw.value: -1.0: must be 0, or from"),
        ({"floor_mw": constant(11.0)}, "cores.mcu.floor_mw: 11 is above active_mw, 10"),
        ({"floor_mw": constant(1.0, "uW")}, "cores.mcu.floor_mw.unit: 'uW' does not fit; must be 'mW'"),
        ({"clocks": [SLOW, SLOW]}, "cores.mcu.clocks: the name '30MHz' is given twice"),
        ({"clocks": [point("120MHz", 60.0, 5.0)]}, "cores.mcu.clocks: the name '120MHz' is given twice"),
        ({"clocks": [point("slow", 0.0, 5.0)]}, "cores.mcu.clocks.slow.clock_mhz.value: 0.0 does not fit"),
        ({"clocks": [point("slow", 60.0, 5.0, floor=6.0)], "floor_mw": constant(1.0)}, "clocks.slow.floor_mw: 6 is"),
        ({"clocks": [point("slow", 60.0, 5.0, floor=1.0)]}, "clocks.slow.floor_mw: the core and each of its clocks"),
        ({"clocks": [SLOW], "floor_mw": constant(1.0)}, "clocks.30MHz.floor_mw: the core and each of its clocks"),
        ({"clocks": [{**SLOW, "active_nw": 3}]}, "clocks.30MHz.active_nw: unknown key 'active_nw'; nearest: "),
        ({"clocks": [point("a b", 60.0, 5.0)]}, "cores.mcu.clocks.a b.name: 'a b'"),
        (
            {"timing": {"model": "throughput", "macs_per_us": constant(9, "MAC/us")}, "clocks": [SLOW]},
            "cores.mcu.clocks: timing.clock_mhz is missing",
        ),
    ],
)
def test_a_wrong_floor_or_clock_gives_one_line(load, changes, message):
    with pytest.raises(UserError) as caught:
        load(mcu=changes)
    assert "\n" not in str(caught.value) and message in str(caught.value)


def test_an_unknown_clock_gives_one_line_with_the_nearest(load):
    device = load(mcu={"clocks": [SLOW]})
    with pytest.raises(UserError, match="core mcu: unknown clock '31MHz'; nearest: '30MHz'"):
        device.at_clocks((("mcu", "31MHz"),))
    with pytest.raises(UserError, match="unknown core 'mcx'; nearest: 'mcu'"):
        device.at_clocks((("mcx", "30MHz"),))
    with pytest.raises(UserError, match="core npu: unknown clock '250MHz'"):
        device.at_clocks((("npu", "250MHz"),))
