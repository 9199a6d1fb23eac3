"""The latency table of a backbone: the costs of its blocks, gate heads and layers on every core.

A *reading* is a measured or estimated cost, in the unit of a core's timing (:mod:`gatesearch.devices.profile`):
microseconds on this host, NPU cycles, instructions, or multiply-accumulates. Only the core's timing converts a reading
to microseconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from gatesearch.cost.kernel_costs import Recorded
from gatesearch.cost.surface import Surface
from gatesearch.devices.profile import Device
from gatesearch.graph.footprint import Footprint
from gatesearch.graph.lifetimes import Lifetime

QUANTITIES = tuple(name for name in Footprint._fields if name != "lifetimes")
OVERHEADS = ("file_overhead_bytes", "arena_overhead_bytes")  # quantities that only TensorFlow Lite Micro needs
# Version of what tables hold and of how it is computed. Cached tables of other versions are not used.
TABLE_VERSION = 14
FLOATING = " float32"  # suffix of a core's name for the readings of float programs


def in_float_on(core: str) -> str:
    """Return the name under which tables store the readings of float programs on a core."""
    return f"{core}{FLOATING}"


@dataclass(frozen=True, slots=True)
class LayerReading:
    """One layer with all its channels, including the normalisation and the ReLU that are fused into it.

    Args:
        block: first site of the block that contains the layer.
        readings: the layer's reading by core, without the overhead of a call.
        previous: the layer right before it in the same block; None for the block's first layer.
        first: whether no earlier layer of the block mixes channels. Then the channels that a cut removes at the block's
            input are missing at this layer's input as well. Depthwise layers do not mix channels.
        last: whether no later layer of the block mixes channels. Then the channels that a cut removes at the block's
            output are missing at this layer's output as well.
    """

    block: str
    readings: Mapping[str, float]
    previous: str | None = None
    first: bool = True
    last: bool = True

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> LayerReading:
        """Rebuild the reading from the entry that :meth:`Table.to_json` writes.

        Tables in older run folders have the key ``behind`` in place of ``previous``.
        """
        return cls(**{("previous" if key == "behind" else key): value for key, value in raw.items()})

    def remaining_share(self, inputs: float, outputs: float) -> float:
        """Return the share of the layer's work that remains where cuts remove channels at the ends of its block.

        Args:
            inputs: share of the block's input channels that remains.
            outputs: share of the block's output channels that remains.

        >>> first, last = LayerReading("stem", {}, last=False), LayerReading("stem", {}, "conv1", first=False)
        >>> first.remaining_share(0.5, 0.25), last.remaining_share(0.5, 0.25)
        (0.5, 0.25)
        """
        return (inputs if self.first else 1.0) * (outputs if self.last else 1.0)


@dataclass(frozen=True, slots=True)
class Loop:
    """Microseconds that this host spends in the code that calls a bundle's programs one after another (the loop).

    Args:
        run: microseconds for each window.
        stage: microseconds for each stage after the first.
        byte: microseconds for each byte that enters or leaves a stage.
        crossings: microseconds for each value that passes to a stage in another number format; keys are
            ``"int8 float32"`` and ``"float32 int8"``.
        crossing: microseconds for each such change of format, whatever the number of values.
        timings: number of calls that were timed for these figures.
    """

    run: float = 0.0
    stage: float = 0.0
    byte: float = 0.0
    crossings: Mapping[str, float] = field(default_factory=dict)
    crossing: float = 0.0
    timings: int = 0

    def crossing_us(self, values: Any, widths: tuple[Any, Any]) -> Any:
        """Return the microseconds of a change of number format between two stages; 0 where there is no change.

        Args:
            values: number of values that pass to the second stage; a number or an array.
            widths: bytes of a value in the two stages; numbers or arrays.

        >>> loop = Loop(crossings={"int8 float32": 0.5, "float32 int8": 0.25}, crossing=1.0)
        >>> loop.crossing_us(8, (np.array([1, 1, 4]), np.array([1, 4, 1]))).tolist()
        [0.0, 5.0, 3.0]
        """
        each = np.where(
            np.less(*widths), self.crossings.get("int8 float32", 0.0), self.crossings.get("float32 int8", 0.0)
        )
        return np.where(np.equal(*widths), 0.0, self.crossing + values * each)


@dataclass(frozen=True, slots=True)
class HostTimings:
    """Timings on this host for a core that runs kernels of gated layers between LiteRT programs.

    Args:
        kernels: microseconds of the kernels.
        loop: microseconds of the loop around programs and kernels.
        timings: number of programs, kernels and loops timed.
        noisy: number of timings that were still disturbed by other load when the budget was spent.
        seconds: duration of all timings.
        derived: share of the summed microseconds of operators and kernels that was interpolated instead of timed.
    """

    kernels: Recorded
    loop: Loop
    timings: int
    noisy: int
    seconds: float
    derived: float = 0.0

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> HostTimings:
        """Rebuild the timings from the entry that :meth:`Table.to_json` writes."""
        return cls(**{**raw, "kernels": Recorded.from_dict(raw["kernels"]), "loop": Loop(**raw["loop"])})


@dataclass(frozen=True, slots=True)
class Table:
    """Readings of a backbone on a device; the price of every plan is a sum of them.

    Args:
        sites: the first site of each block, in order, beginning with the input; the last block ends at ``"output"``.
        blocks: by first site, the surfaces of each block by quantity. A surface gives the quantity for each share of
            channels that remains; see :class:`gatesearch.cost.surface.Surface`. Quantities are :data:`QUANTITIES` and,
            under the name of each core of the device, the reading on this core.
        heads: the same surfaces by the name of a gate head or an exit. The name of a head is ``"variant@site"``;
            :func:`gatesearch.cost.blocks.exit_of` returns the name of an exit. Heads and exits read all channels of
            their site.
        overhead: by core, the reading of an empty program, which is the overhead of one call. A stage of two blocks
            makes one call, but the sum of the two readings contains two overheads.
        input_elements: number of values of one input sample.
        fingerprint: machine and software versions with which the readings were made.
        layers: the reading of each layer that a gate may replace, by its site.
        needs: how much each block, by its first site, and each exit, by its name, needs float32; see
            :func:`gatesearch.compile.number_format.needs`. This need and the core decide the number format of a
            reading.
        native: by core name, the timings for the cores of this host that run kernels. If the search has layer gates,
            blocks, heads and layers have a second reading on these cores, for the float program; see
            :func:`in_float_on`.
        lifetimes: by the name of a block, a head or an exit, the lifetimes of its tensors with all channels.
        seams: by first site of a block, the bytes to add to its tables where it follows another block in a program; see
            :mod:`gatesearch.cost.seams`.
        neighbours: for each block that mixes no channels, by its first site: two tuples of other blocks that lose
            the same channels. The first tuple holds the blocks behind it that lose the channels that a cut removes at
            its input. The second tuple holds the blocks before it that lose the channels that a cut removes at its
            output.
        version: the :data:`TABLE_VERSION` of the code that made the table; 0 for older files, which do not say it.
    """

    sites: tuple[str, ...]
    blocks: Mapping[str, Mapping[str, Surface]]
    heads: Mapping[str, Mapping[str, Surface]]
    overhead: Mapping[str, float]
    input_elements: int
    fingerprint: Mapping[str, Any]
    layers: Mapping[str, LayerReading] = field(default_factory=dict)
    needs: Mapping[str, str] = field(default_factory=dict)
    native: Mapping[str, HostTimings] = field(default_factory=dict)
    lifetimes: Mapping[str, tuple[Lifetime, ...]] = field(default_factory=dict)
    neighbours: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=dict)
    seams: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    version: int = TABLE_VERSION

    def lacks(self, device: Device) -> tuple[str, ...]:
        """Return the quantities that prices on a device need and that this table lacks, as older tables do."""
        row = self.blocks[self.sites[0]]
        needed = {"values": any(core.cost_per_value for core in device.cores)}
        needed |= dict.fromkeys(OVERHEADS, any(core.artifact_engine == "tflm" for core in device.cores))
        return tuple(name for name, is_needed in needed.items() if is_needed and name not in row)

    def to_json(self) -> str:
        """Return the table as JSON."""
        native = {name: {**asdict(host), "kernels": host.kernels.to_dict()} for name, host in self.native.items()}
        return json.dumps({**asdict(replace(self, native={})), "native": native})

    @classmethod
    def from_json(cls, text: str) -> Table:
        """Rebuild a table from :meth:`to_json`."""
        raw = json.loads(text)
        return cls(
            sites=tuple(raw["sites"]),
            blocks=_surfaces(raw["blocks"]),
            heads=_surfaces(raw["heads"]),
            overhead=raw["overhead"],
            input_elements=raw["input_elements"],
            fingerprint=raw["fingerprint"],
            layers={name: LayerReading.from_dict(row) for name, row in raw["layers"].items()},
            needs=raw.get("needs", {}),  # tables in older run folders have none, and all their readings are in int8
            native={name: HostTimings.from_dict(host) for name, host in raw.get("native", {}).items()},
            neighbours={
                name: (tuple(after), tuple(before)) for name, (after, before) in raw.get("neighbours", {}).items()
            },
            lifetimes={name: tuple(Lifetime(*row) for row in rows) for name, rows in raw.get("lifetimes", {}).items()},
            seams=raw.get("seams", {}),
            version=raw.get("version", 0),
        )


def _surfaces(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Surface]]:
    return {key: {name: _surface(raw) for name, raw in row.items()} for key, row in entries.items()}


def _surface(raw: Mapping[str, Any]) -> Surface:
    return Surface(tuple(raw["coefficients"]), raw.get("channels", 1), raw.get("tile", 1))
