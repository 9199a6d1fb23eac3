"""The conformance suite of device profiles: tests of the promises that a profile has to keep.

Derive a class in your own tests. pytest runs the tests that the class inherits. Each failure says which promise is
broken:

    class TestBoard(DeviceConformance):
        device = load("board.yaml")
"""

from __future__ import annotations

import math
from typing import ClassVar

from gatesearch.devices.profile import Core, Device, list_constants

POWER_FLOOR_SHARE = 1e-9  # relative difference of two energies that rounding can cause


class DeviceConformance:
    """Tests the promises of a device profile on which the cost model relies.

    Attributes:
        device: the device of the profile.
    """

    device: ClassVar[Device]

    def test_every_constant_says_its_unit_and_where_it_comes_from(self) -> None:
        """Each constant has a unit, a source of four words or more, and the details that its provenance requires.

        The source of a measured constant contains the word "measure". The source of a derived constant contains
        arithmetic, and so a number. A published constant has the condition for which it holds.
        """
        for path, constant in list_constants(self.device):
            assert constant.unit, f"{path}: no unit"
            assert len(constant.source.split()) >= 4, f"{path}: {constant.source!r} is no sentence"
            assert constant.provenance != "measured" or "measure" in constant.source, f"{path}: measured how?"
            assert constant.provenance != "published" or constant.condition, (
                f"{path}: a published constant needs a condition"
            )
            has_numbers = any(letter.isdigit() for letter in constant.source)
            assert constant.provenance != "derived" or has_numbers, (
                f"{path}: the source of a derived constant needs its arithmetic"
            )

    def test_paths_of_constants_are_unique(self) -> None:
        """Each constant has a path of its own, because the sensitivity analysis names constants by their paths."""
        paths = [path for path, _ in list_constants(self.device)]
        assert len(set(paths)) == len(paths), f"{self.device.name}: two constants of one path"

    def test_latency_grows_with_the_reading_and_starts_at_zero(self) -> None:
        """Latency is proportional to the entries of a latency table (readings), because the cost model adds entries."""
        for core in self.device.cores:
            us = core.timing.latency_us(1.0)
            assert core.timing.latency_us(0.0) == 0.0, f"{core.name}: zero work takes time"
            assert 0.0 < us < math.inf, f"{core.name}: a unit of work takes {us} us"
            assert math.isclose(core.timing.latency_us(1e6), 1e6 * us), f"{core.name}: latency is not in proportion"

    def test_a_core_that_runs_draws_power(self) -> None:
        """A core draws active power while it computes, in addition to its constant idle power."""
        for core in self.device.cores:
            assert core.active_mw.value > 0, f"{core.name}: has no active power"

    def test_a_derived_wake_up_takes_no_more_than_active_power(self) -> None:
        """A modelled or derived wake-up energy is at most the wake-up time multiplied by active power."""
        for core in self.device.cores:
            if core.wake_uj.provenance in ("modelled", "derived"):
                limit = core.compute_uj(core.wake_us.value)
                assert core.wake_uj.value <= limit * (1 + POWER_FLOOR_SHARE), f"{core.name}: wakes with {_wake(core)}"

    def test_a_front_end_and_links_lead_to_every_core(self) -> None:
        """Each core receives data: the sensor's core from the front end, and every other core over a link."""
        first = self.device.sense.core
        assert self.device.core(first).timing.frontend_us(1.0) is not None, f"{first}: no figure for the front end"
        targets = {first, *(link.target for link in self.device.links)}
        assert targets == set(self.device.core_names), f"no link enters {set(self.device.core_names) - targets}"


def _wake(core: Core) -> str:
    return f"{core.wake_uj.value} uJ, {core.compute_uj(core.wake_us.value)} uJ at active power"
