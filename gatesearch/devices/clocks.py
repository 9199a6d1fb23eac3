"""The clock points of a device's cores, and the choices of clocks that a plan has.

A *clock point* is one frequency of a core, with the core's powers at that frequency. The constants of a core hold at
its first clock point. The key ``clocks`` of the profile lists the other points. The times of a core are in inverse
proportion to its frequency.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import product
from typing import Annotated, NamedTuple

from pydantic import Field

from gatesearch.devices.constants import Constant, StrictModel, require_unit

Clocks = tuple[tuple[str, str], ...]
"""The clock points of a plan: pairs of a core and the name of a point, sorted by core. Cores that are not listed run at
their first point."""


class ClockPoint(StrictModel):
    """One frequency of a core, with the core's powers at that frequency; see :class:`gatesearch.devices.core.Core`."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    clock_mhz: Annotated[Constant, require_unit("MHz", positive=True)]
    active_mw: Annotated[Constant, require_unit("mW", positive=True)]
    floor_mw: Annotated[Constant, require_unit("mW")] | None = None


class ClockSlot(NamedTuple):
    """A core whose clock a plan may choose.

    Args:
        core: name of the core.
        points: names of its clock points, the first point of the core first.
        always: whether the core runs in every plan, because it computes the front end.
    """

    core: str
    points: tuple[str, ...]
    always: bool

    def matters(self, cores: Collection[str]) -> bool:
        """Return whether the clock changes the price of a plan whose stages run on ``cores``."""
        return self.always or self.core in cores


def clock_choices(slots: Sequence[ClockSlot], cores: Collection[str]) -> list[Clocks]:
    """Return every choice of clocks for a plan whose stages run on ``cores``; a choice does not list first points.

    >>> clock_choices([ClockSlot("cpu", ("96MHz", "48MHz"), True), ClockSlot("npu", ("1GHz", "2GHz"), False)], ["cpu"])
    [(), (('cpu', '48MHz'),)]
    """
    own = [slot for slot in slots if slot.matters(cores)]
    rows = product(*(slot.points for slot in own))
    return [
        tuple(sorted((slot.core, point) for slot, point in zip(own, row, strict=True) if point != slot.points[0]))
        for row in rows
    ]
