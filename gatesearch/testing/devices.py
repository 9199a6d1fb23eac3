"""The conformance suite of device profiles.

Derive a class in your own tests; pytest runs what it inherits, and each failure says which promise is broken:

    class TestBoard(DeviceConformance):
        device = load("board.yaml")
"""

from __future__ import annotations

import math
from typing import ClassVar

from gatesearch.devices.profile import Core, Device, list_constants

POWER_FLOOR_SHARE = 1e-9  # of an energy: differences below come from rounding


class DeviceConformance:
    """What a device profile promises to whoever prices plans with it.

    Attributes:
        device: the profile, loaded.
    """

    device: ClassVar[Device]

    def test_every_constant_says_its_unit_and_where_it_comes_from(self) -> None:
        """A unit, a provenance and a source of a few words; a measured value says what was measured."""
        for path, constant in list_constants(self.device):
            assert constant.unit, f"{path}: no unit"
            assert len(constant.source.split()) >= 4, f"{path}: {constant.source!r} is no sentence"
            assert constant.provenance != "measured" or "measure" in constant.source, f"{path}: measured how?"

    def test_paths_of_constants_are_unique(self) -> None:
        """Sensitivity moves constants by their paths."""
        paths = [path for path, _ in list_constants(self.device)]
        assert len(set(paths)) == len(paths), f"{self.device.name}: two constants of one path"

    def test_latency_grows_with_the_reading_and_starts_at_zero(self) -> None:
        """Readings are added up before they become microseconds: latency is in proportion to them."""
        for core in self.device.cores:
            one = core.timing.latency_us(1.0)
            assert core.timing.latency_us(0.0) == 0.0, f"{core.name}: no work takes time"
            assert 0.0 < one < math.inf, f"{core.name}: a unit of work takes {one} us"
            assert math.isclose(core.timing.latency_us(1e6), 1e6 * one), f"{core.name}: latency is not in proportion"

    def test_a_core_that_runs_draws_power(self) -> None:
        """Energy is time by active power, on top of the idle power that a core draws all the time."""
        for core in self.device.cores:
            assert core.active_mw.value > 0, f"{core.name}: computes for nothing"

    def test_a_derived_wake_up_takes_no_more_than_active_power(self) -> None:
        """A wake-up energy that a profile derives of the wake-up time is at most that time at active power."""
        for core in self.device.cores:
            if core.wake_uj.provenance == "modelled":
                most = core.compute_uj(core.wake_us.value)
                assert core.wake_uj.value <= most * (1 + POWER_FLOOR_SHARE), f"{core.name}: wakes with {_wake(core)}"

    def test_a_front_end_and_links_lead_to_every_core(self) -> None:
        """A core that no link enters, or that the front end does not run on, runs no stage."""
        first = self.device.sense.core
        assert self.device.core(first).timing.frontend_us(1.0) is not None, f"{first}: no figure for the front end"
        entered = {first, *(link.target for link in self.device.links)}
        assert entered == set(self.device.core_names), f"no link enters {set(self.device.core_names) - entered}"


def _wake(core: Core) -> str:
    return f"{core.wake_uj.value} uJ, {core.compute_uj(core.wake_us.value)} uJ at active power"
