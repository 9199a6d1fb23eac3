"""What the kernels of gated layers cost on a core, by shape and by the share of the work that is left.

This is the seam between whoever takes the readings (a clock on this host, a simulator that counts instructions) and
whoever prices plans: either side knows :class:`KernelCosts` alone. A reading is in the unit of the core's timing, as
the table's readings of blocks are: microseconds here, multiply-accumulates or cycles elsewhere.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from gatesearch.devices.profile import Provenance
from gatesearch.gates import BLOCK, KernelCall

Point = tuple[float, ...]


@runtime_checkable
class KernelCosts(Protocol):
    """Readings of one core's kernels."""

    @property
    def provenance(self) -> Provenance:
        """How they are known."""

    def reading(self, call: KernelCall) -> float | None:
        """Return what a call takes; None where nothing is known of such a kernel, shape or variant."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Readings at the points of a grid of shares, linear between them.

    Args:
        names: of the shares, such as ``("inputs", "outputs")``.
        points: shares, in the order of the names; every combination of the values that occur.
        readings: one a point.

    Raises:
        ValueError: the points are no grid.

    >>> curve = Curve(("open",), ((0.0,), (0.5,), (1.0,)), (10.0, 20.0, 24.0))
    >>> curve({"open": 0.25}), curve({"open": 1.0}), curve({})
    (15.0, 24.0, 24.0)
    """

    names: tuple[str, ...]
    points: tuple[Point, ...]
    readings: tuple[float, ...]

    def __post_init__(self) -> None:
        grid = set(itertools.product(*self._axes))
        if set(self.points) != grid or len(self.points) != len(grid) or len(self.readings) != len(grid):
            raise ValueError(f"{len(self.points)} points with {len(self.readings)} readings over {self.names}: no grid")

    @property
    def _axes(self) -> list[list[float]]:
        return [sorted({point[i] for point in self.points}) for i in range(len(self.names))]

    def __call__(self, left: Mapping[str, float]) -> float:
        """Return the reading where so much is left; what is not named is there in full.

        Outside of the grid the nearest stretch goes on as a straight line, never below zero.
        """
        known = dict(zip(self.points, self.readings, strict=True))
        corners: list[tuple[float, Point]] = [(1.0, ())]
        for name, axis in zip(self.names, self._axes, strict=True):
            sides = _sides(axis, left.get(name, 1.0))
            corners = [(w * weight, (*point, value)) for w, point in corners for weight, value in sides]
        return max(0.0, math.fsum(weight * known[point] for weight, point in corners))


def _sides(axis: Sequence[float], value: float) -> list[tuple[float, float]]:
    """Return the two values of an axis that a value is worked out from, each with its weight."""
    if len(axis) == 1:
        return [(1.0, axis[0])]
    above = min(max(sum(known < value for known in axis), 1), len(axis) - 1)
    low, high = axis[above - 1], axis[above]
    share = (value - low) / (high - low)
    return [(1 - share, low), (share, high)]


Key = tuple[str, tuple[int, ...], tuple[tuple[str, int | str], ...]]


@dataclass(frozen=True)
class Recorded:
    """Costs that were recorded: a curve for each kernel, shape and variant.

    >>> call = KernelCall("fbs", (8, 8, 32, 32), (), (("outputs", 0.5),))
    >>> costs = Recorded("measured", {key_of(call): Curve(("outputs",), ((0.5,), (1.0,)), (3.0, 5.0))})
    >>> costs.reading(call), costs.reading(call._replace(kernel="pg"))
    (3.0, None)
    """

    provenance: Provenance
    curves: Mapping[Key, Curve] = field(default_factory=dict)

    def reading(self, call: KernelCall) -> float | None:
        """See :class:`KernelCosts`."""
        curve = self.curves.get(key_of(call))
        return None if curve is None else curve(in_blocks(call))

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        rows = [
            {
                **{"kernel": key[0], "shape": list(key[1]), "variant": dict(key[2])},
                **{"names": list(c.names), "points": [list(p) for p in c.points], "readings": list(c.readings)},
            }
            for key, c in self.curves.items()
        ]
        return {"provenance": self.provenance, "curves": rows}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Recorded:
        """Rebuild from :meth:`to_dict`."""
        return cls(
            raw["provenance"],
            {
                (row["kernel"], tuple(row["shape"]), tuple(sorted(row["variant"].items()))): Curve(
                    tuple(row["names"]), tuple(tuple(p) for p in row["points"]), tuple(row["readings"])
                )
                for row in raw["curves"]
            },
        )


def in_blocks(call: KernelCall) -> dict[str, float]:
    """Return the shares of a call that are left as a kernel sees them that works in blocks of channels.

    A block has its second phase where any of its groups is open; groups are taken to be open independently of each
    other. Groups of one output are computed one by one.

    >>> in_blocks(KernelCall("pg", (8, 8, 32, 32), (("group", 8),), (("open", 0.5),)))
    {'open': 0.75}
    """
    left = dict(call.left)
    group = int(dict(call.variant).get("group", BLOCK))
    if "open" in left and 1 < group < BLOCK:
        left["open"] = 1.0 - (1.0 - left["open"]) ** (BLOCK / group)
    return left


def key_of(call: KernelCall) -> Key:
    """Return what makes a curve of its own: all of a call but the shares."""
    return call.kernel, call.shape, call.variant
