"""The cost of gated layers' kernels on a core, by shape and by the share of the work that remains.

A *reading* is a measured or estimated cost, in the unit of the core's timing: microseconds on this host, instructions
or clock ticks on other cores. Readings come from timings on this host or from a simulator that counts instructions.
:class:`KernelCosts` is the interface between these sources and the pricing of plans.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from gatesearch.devices.profile import Provenance
from gatesearch.gates import BLOCK, KernelCall
from gatesearch.kernels.gated_u8 import name_in_bytes

Point = tuple[float, ...]  # a share of remaining work on each axis of a grid


@runtime_checkable
class KernelCosts(Protocol):
    """Readings of one core's kernels."""

    @property
    def provenance(self) -> Provenance:
        """The provenance of the readings."""

    def reading(self, call: KernelCall) -> float | None:
        """Return the reading of a call; None if the costs do not contain its kernel, shape or variant."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Readings at the points of a grid of shares, with linear interpolation between the points.

    Args:
        names: the names of the shares, such as ``("inputs", "outputs")``.
        points: tuples of shares, in the order of the names; they form a grid, so each combination of shares occurs.
        readings: the reading at each point.

    Raises:
        ValueError: the points do not form a grid.

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

    def __call__(self, shares: Mapping[str, float]) -> float:
        """Return the reading at the given shares of remaining work; a share that is missing from the argument is 1.

        Outside the grid, the reading is extrapolated from the two nearest points of an axis, but not below zero.
        """
        readings = dict(zip(self.points, self.readings, strict=True))
        corners: list[tuple[float, Point]] = [(1.0, ())]
        for name, axis in zip(self.names, self._axes, strict=True):
            sides = _sides(axis, shares.get(name, 1.0))
            corners = [(w * weight, (*point, value)) for w, point in corners for weight, value in sides]
        return max(0.0, math.fsum(weight * readings[point] for weight, point in corners))


def _sides(axis: Sequence[float], value: float) -> list[tuple[float, float]]:
    """Return the two values of an axis between which a value is interpolated, each with its weight."""
    if len(axis) == 1:
        return [(1.0, axis[0])]
    above = min(max(sum(point < value for point in axis), 1), len(axis) - 1)
    low, high = axis[above - 1], axis[above]
    share = (value - low) / (high - low)
    return [(1 - share, low), (share, high)]


Key = tuple[str, tuple[int, ...], tuple[tuple[str, int | str], ...]]  # kernel, shape and variant of a call


@dataclass(frozen=True)
class Recorded:
    """Kernel costs that were recorded: a curve for each kernel, shape and variant.

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
        """Return the costs as JSON-ready values."""
        rows = [
            {
                "kernel": kernel,
                "shape": list(shape),
                "variant": dict(variant),
                "names": list(curve.names),
                "points": [list(point) for point in curve.points],
                "readings": list(curve.readings),
            }
            for (kernel, shape, variant), curve in self.curves.items()
        ]
        return {"provenance": self.provenance, "curves": rows}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Recorded:
        """Rebuild the costs from the values that :meth:`to_dict` returns."""
        return cls(
            raw["provenance"],
            {
                (row["kernel"], tuple(row["shape"]), tuple(sorted(row["variant"].items()))): Curve(
                    tuple(row["names"]), tuple(tuple(p) for p in row["points"]), tuple(row["readings"])
                )
                for row in raw["curves"]
            },
        )


@dataclass(frozen=True)
class InBytes:
    """The costs of the same kernels between bytes, as stages in int8 run them."""

    costs: KernelCosts

    @property
    def provenance(self) -> Provenance:
        """See :class:`KernelCosts`."""
        return self.costs.provenance

    def reading(self, call: KernelCall) -> float | None:
        """See :class:`KernelCosts`."""
        return self.costs.reading(call._replace(kernel=name_in_bytes(call.kernel)))


def in_blocks(call: KernelCall) -> dict[str, float]:
    """Return the remaining shares of a call, for a kernel that works in blocks of 16 channels.

    With precision gating (``pg``), a group of outputs is open if the kernel adds the low bits of the inputs to it. The
    kernel adds them to a whole block if any group of the block is open. Groups are assumed to open independently of
    each other. So if a block has g groups and a share p of all groups is open, a share 1 - (1 - p)^g of the blocks is
    open. Groups of one output are computed one by one, so their share does not change.

    >>> in_blocks(KernelCall("pg", (8, 8, 32, 32), (("group", 8),), (("open", 0.5),)))
    {'open': 0.75}
    """
    shares = dict(call.remaining)
    group = int(dict(call.variant).get("group", BLOCK))
    if "open" in shares and 1 < group < BLOCK:
        shares["open"] = 1.0 - (1.0 - shares["open"]) ** (BLOCK / group)
    return shares


def key_of(call: KernelCall) -> Key:
    """Return the key of a call's curve: everything but the shares."""
    return call.kernel, call.shape, call.variant
