"""The interface of latency sources, which measure or estimate what modules cost on a core.

The modules are the separately timed parts of a backbone, called *components*: blocks, gate heads, exits and layers. The
cost of a component on a core is a *reading*. The ``timing`` entry of the core's profile selects the source. The unit of
the readings depends on that entry: instructions, cycles, microseconds or multiply-accumulates.
``core.timing.latency_us`` converts a reading to microseconds; ``core.timing.provenance`` says whether the result is
measured, simulated or modelled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gatesearch.cost.blocks import ComponentKey
from gatesearch.cost.programs import Programs
from gatesearch.cost.table import HostTimings
from gatesearch.devices.profile import Core

ByComponent = Mapping[ComponentKey, float]


@dataclass(frozen=True)
class Readings:
    """The readings of one source.

    Args:
        by_name: readings by a name, then by component. The name is the core's name or, for the float program on that
            core, the string that :func:`gatesearch.cost.table.in_float_on` returns. Components that a core cannot run
            may be missing.
        tiles: number of output channels that are computed together, by block and by a name of ``by_name``; a missing
            entry means 1.
        native: by core, the times on this host of the C kernels and of the code that calls a bundle's programs one
            after another.
    """

    by_name: Mapping[str, ByComponent]
    tiles: Mapping[tuple[str, str], int] = field(default_factory=dict)
    native: Mapping[str, HostTimings] = field(default_factory=dict)


class LatencySource(Protocol):
    """Measures or estimates the cost of components on cores of one kind."""

    def collect(self, cores: Sequence[Core], programs: Programs) -> Readings:
        """Return the readings of all components on all of these cores.

        Args:
            cores: the cores of one device, all of the source's kind.
            programs: the components, with their MAC (multiply-accumulate) and byte counts and their .tflite models.
        """
