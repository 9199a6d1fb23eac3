"""Tests that profiles of real parts price MLPerf Tiny's keyword spotter (a DS-CNN) as it was published."""

from __future__ import annotations

import datetime

import pytest

from gatesearch.devices import profile
from gatesearch.plan import GatePlan
from tests.cost.test_recipes_on_devices import model

# Milliseconds of Bosch's software (MLPerf Tiny v1.2) on the STM32U575, from which the factor of the M33 comes, and the
# milliseconds of STMicroelectronics' (v1.3), which give the ratio to other parts with the same core.
BOSCH_MS, ST_MS = 38.58, 28.80
# Part, core, clock (None for the first), milliseconds and microjoules of the core's chip: published, or derived from
# published times and the published power of the keyword spotter.
PUBLISHED = [
    ("stm32u385", "m33", None, BOSCH_MS * 48.22 / ST_MS, BOSCH_MS * 48.22 / ST_MS * 245.3 / 48.22),
    ("stm32u575", "m33", None, BOSCH_MS, BOSCH_MS * 664.4 / ST_MS),
    ("stm32u3c5", "m33", None, BOSCH_MS * 48.4 / ST_MS, BOSCH_MS * 48.4 / ST_MS * 278.7 / 48.4),
    ("stm32u3c5", "hsp", None, 16.5, 300.6),
    ("stm32l4r5", "m4", None, 60.16, 60.16 * 1430.7 / 43.52),
    ("apollo510", "m55", None, 20.5, 160.1),
    ("apollo510", "m55", "250MHz", 7.86, 219.5),
    ("ndp120", "ndp", None, 4.367, 31.54),
    ("ndp120", "ndp", "98.7MHz", 1.48, 43.80),
    ("nrf54lm20b", "axon", None, 4.5, 40.5),
]
PARTS = sorted({part for part, *_ in PUBLISHED})
# Parts for which a constant was not found; docs/devices.md names it.
INCOMPLETE = {"apollo510": ["cores.m55.idle_mw"], "nrf54lm20b": ["cores.m33.floor_mw"]}


@pytest.mark.parametrize(("part", "core", "clock", "ms", "uj"), PUBLISHED)
def test_the_keyword_spotter_takes_the_published_time_and_energy(
    part: str, core: str, clock: str | None, ms: float, uj: float
) -> None:
    cost, _ = model("kws_clips", part)
    plan = GatePlan((), (core,), () if clock is None else ((core, clock),))
    [stage] = cost.stages(plan)
    assert stage.cost.latency_us / 1e3 == pytest.approx(ms, rel=0.1)
    resting_uj = cost.device.at_clocks(plan.clocks).resting_mw[cost.device.sense.core] * stage.cost.latency_us / 1e3
    assert stage.cost.compute_uj + resting_uj == pytest.approx(uj, rel=0.12)


@pytest.mark.parametrize("part", PARTS)
def test_no_constant_of_a_real_part_is_assumed_except_those_that_were_not_found(part: str) -> None:
    constants = profile.list_constants(profile.load(part))
    assert [path for path, one in constants if one.provenance == "assumed"] == INCOMPLETE.get(part, [])
    for path, one in constants:
        assert one.condition, path
        assert (one.age_years(datetime.date.today()) or 0.0) >= 0, path


@pytest.mark.parametrize("part", PARTS)
def test_links_inside_a_die_and_weights_on_it_cost_no_energy_of_their_own(part: str) -> None:
    device = profile.load(part)
    assert all(link.nj_per_byte.value == 0 for link in device.links)
    assert all(core.weights_nj_per_byte.value == 0 for core in device.cores)
    assert all(core.wake_uj.value <= core.compute_uj(core.wake_us.value) for core in device.cores)
