"""The model of a device: cores in order of rising cost, the links between them, and the sensor."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from gatesearch.devices.clocks import Clocks, ClockSlot
from gatesearch.devices.constants import Constant, StrictModel, profile_error, require_unit
from gatesearch.devices.core import Core, at_clock
from gatesearch.errors import unknown


class Link(StrictModel):
    """A connection that carries tensors from one core to a later one, with its cost in time and energy."""

    source: str
    target: str
    nj_per_byte: Annotated[Constant, require_unit("nJ/byte")]
    mb_per_s: Annotated[Constant, require_unit("MB/s", positive=True)]

    def transfer_us(self, size: float) -> float:
        """Return the microseconds that ``size`` bytes take."""
        return size / self.mb_per_s.value

    def transfer_uj(self, size: float) -> float:
        """Return the microjoules that ``size`` bytes cost."""
        return size * self.nj_per_byte.value * 1e-3


class Sense(StrictModel):
    """The sensor, which is always on, and the core that computes the front end from its samples."""

    core: str
    sensor_mw: Annotated[Constant, require_unit("mW")]

    def window_uj(self, period_s: float) -> float:
        """Return the sensor's microjoules for one window of ``period_s`` seconds."""
        return self.sensor_mw.value * period_s * 1e3


class Device(StrictModel):
    """Cores in order of rising cost, the links between them and the sensor.

    ``base`` names the profile from which this one inherits all keys that it does not state; see
    :mod:`gatesearch.devices.documents`.
    """

    schema_version: Literal[1]
    name: str
    base: str | None = None
    description: str = ""
    cores: Annotated[tuple[Core, ...], Field(min_length=1)]
    links: tuple[Link, ...] = ()
    sense: Sense

    @model_validator(mode="after")
    def _check_core_names(self) -> Device:
        """Check that core names differ, and that links and sensor name cores of the device.

        The sensor's core also needs a rate for the front end.
        """
        names = [core.name for core in self.cores]
        duplicate = next((name for name in names if names.count(name) > 1), None)
        if duplicate:
            raise profile_error(f"cores: the name {duplicate!r} is given twice", duplicate, names)
        link_ends = [
            (f"links.{i}.{end}", getattr(link, end))
            for i, link in enumerate(self.links)
            for end in ("source", "target")
        ]
        for where, name in [*link_ends, ("sense.core", self.sense.core)]:
            if name not in names:
                raise profile_error(f"{where}: unknown core {name!r}", name, names)
        frontend_cores = [core.name for core in self.cores if core.timing.frontend_us(1.0) is not None]
        if self.sense.core not in frontend_cores:
            text = f"sense.core: {self.sense.core!r} has no figure for the front end"
            raise profile_error(text, self.sense.core, frontend_cores or ["give a core frontend_macs_per_us"])
        return self

    @property
    def core_names(self) -> tuple[str, ...]:
        """The names of the cores, cheapest first."""
        return tuple(core.name for core in self.cores)

    def core(self, name: str) -> Core:
        """Return the core of that name.

        Raises:
            UserError: the device has no such core.
        """
        for core in self.cores:
            if core.name == name:
                return core
        raise unknown(f"device {self.name}", "core", name, self.core_names)

    @property
    def resting_mw(self) -> dict[str, float]:
        """The power that each core draws while it does not compute; for the sensor's core, its listening floor."""
        return {core.name: (self._floor_mw(core) or core.idle_mw).value for core in self.cores}

    def added_uj(self, core: Core, latency_us: float) -> float:
        """Return the microjoules that a run adds to the energy that the device draws while no core computes.

        Idle powers are small, so a run adds the whole active power. A listening floor is not small, so a run on a core
        with a floor adds only the difference between active power and floor.
        """
        floor = self._floor_mw(core)
        return core.compute_uj(latency_us) - (0.0 if floor is None else latency_us * floor.value * 1e-3)

    def _floor_mw(self, core: Core) -> Constant | None:
        """Return the listening floor of a core; None without one. Only the sensor's core listens."""
        return core.floor_mw if core.name == self.sense.core else None

    def at_clocks(self, clocks: Clocks) -> Device:
        """Return the device whose cores run at the clocks of a plan.

        Raises:
            UserError: the device has no such core, or the core has no such clock.
        """
        names = dict(clocks)
        for name in names:
            self.core(name)
        cores = tuple(
            at_clock(core, names[core.name], f"device {self.name}: core {core.name}") if core.name in names else core
            for core in self.cores
        )
        return self.model_copy(update={"cores": cores})

    def link(self, source: str, target: str) -> Link | None:
        """Return the link between two cores, or None where no tensor can go from one to the other."""
        return next((link for link in self.links if (link.source, link.target) == (source, target)), None)


def list_clock_slots(device: Device) -> tuple[ClockSlot, ...]:
    """Return a slot for each core of a device that has several clock points, in the order of the cores."""
    return tuple(
        ClockSlot(core.name, core.clock_names, core.name == device.sense.core) for core in device.cores if core.clocks
    )


def list_clock_points(device: Device, clocks: Clocks) -> dict[str, str]:
    """Return the clock point of each core of a device that has several, in a plan with these clocks."""
    return {slot.core: slot.points[0] for slot in list_clock_slots(device)} | dict(clocks)
