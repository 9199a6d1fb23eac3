"""The latency table of a backbone: readings of its blocks, gate heads and layers on every core, as values and JSON.

A *reading* is in the unit of a core's timing (:mod:`gatesearch.devices.profile`): microseconds on this host, NPU
cycles, instructions, or multiply-accumulates. The core's timing alone turns a reading into microseconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from gatesearch.cost.kernel_costs import Recorded
from gatesearch.cost.surface import Surface

QUANTITIES = ("macs", "weight_bytes", "activation_bytes")
FLOATING = " float32"  # suffix of a core's name: the reading of the program in float


def in_float_on(core: str) -> str:
    """Return the name of the reading of the program in float on a core that runs kernels."""
    return f"{core}{FLOATING}"


@dataclass(frozen=True, slots=True)
class LayerReading:
    """A layer with all its channels, together with the normalisation and the ReLU that are fused into it.

    Args:
        block: first site of the block in which the layer lies.
        readings: by core, less the overhead of a call.
        behind: the layer of the same block that comes right before it; None for the first one.
        first, last: whether no other layer of the block that mixes channels comes before or after it. What a cut
            leaves of the channels passes through depthwise layers unmixed.
    """

    block: str
    readings: Mapping[str, float]
    behind: str | None = None
    first: bool = True
    last: bool = True

    def left(self, inputs: float, outputs: float) -> float:
        """Return the share of the layer's work that remains where cuts leave such shares at the ends of its block.

        >>> first, last = LayerReading("stem", {}, last=False), LayerReading("stem", {}, "conv1", first=False)
        >>> first.left(0.5, 0.25), last.left(0.5, 0.25)
        (0.5, 0.25)
        """
        return (inputs if self.first else 1.0) * (outputs if self.last else 1.0)


@dataclass(frozen=True, slots=True)
class Loop:
    """Microseconds of the loop that runs a bundle on this host, beside the programs.

    Args:
        run: once a window.
        stage: for each stage behind the first.
        byte: for each byte that enters or leaves a stage.
        crossings: for each value that crosses from a stage into one of another number format, by
            ``"int8 float32"`` and ``"float32 int8"``.
        crossing: for each such crossing.
        timings: number of calls timed for these figures.
    """

    run: float = 0.0
    stage: float = 0.0
    byte: float = 0.0
    crossings: Mapping[str, float] = field(default_factory=dict)
    crossing: float = 0.0
    timings: int = 0


@dataclass(frozen=True, slots=True)
class HostTimings:
    """What was timed for a core of this host that runs kernels of gated layers between LiteRT programs.

    Args:
        kernels: microseconds of the kernels.
        loop: microseconds of the loop around programs and kernels.
        timings: number of programs, kernels and loops timed.
        noisy: number of timings still disturbed by other load when time was up.
        seconds: duration of all timings.
        derived: share of the summed microseconds of operators and kernels that was interpolated, not timed.
    """

    kernels: Recorded
    loop: Loop
    timings: int
    noisy: int
    seconds: float
    derived: float = 0.0

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> HostTimings:
        """Rebuild from the entry that :meth:`Table.to_json` writes."""
        return cls(**{**raw, "kernels": Recorded.from_dict(raw["kernels"]), "loop": Loop(**raw["loop"])})


@dataclass(frozen=True, slots=True)
class Table:
    """Readings of a backbone on a device: what every plan's price is added up from.

    Args:
        sites: where a block begins, in order, the input first; the last block ends at ``"output"``.
        blocks: for each block, by first site: a surface by quantity; quantities are :data:`QUANTITIES` and a reading
            for every core of the device, by core name.
        heads: the same for each gate variant at each site, keyed ``"variant@site"``, and for each of its exits, keyed
            by :func:`gatesearch.cost.blocks.exit_of`, with all channels of the site.
        overhead: reading of an empty program by core: the cost of one more call, and what is counted once too often
            where two blocks run as one stage.
        input_elements: values of one input sample.
        fingerprint: machine and versions.
        layers: each layer that a gate may replace, by itself.
        needs: whether int8 serves a block, by first site, and an exit; see :mod:`gatesearch.compile.number_format`.
            Readings are of the number format that the core is given.
        native: by name, the cores of this host that run kernels. Where layer gates were searched for, blocks, heads
            and layers have a second reading for them, of the program in float: see :func:`in_float_on`.
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
            layers={name: LayerReading(**row) for name, row in raw["layers"].items()},
            needs=raw.get("needs", {}),  # tables of older run folders have none: all was read in int8
            native={name: HostTimings.from_dict(host) for name, host in raw.get("native", {}).items()},
        )


def _surfaces(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Surface]]:
    return {key: {name: _surface(raw) for name, raw in row.items()} for key, row in entries.items()}


def _surface(raw: Mapping[str, Any]) -> Surface:
    return Surface(tuple(raw["coefficients"]), raw.get("channels", 1), raw.get("tile", 1))
