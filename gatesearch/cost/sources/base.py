"""The interface of sources of latencies, which read pieces of a backbone on a device's cores.

A core's timing decides which source reads its pieces. The readings are in the unit of the timing.
``core.timing.latency_us`` turns a reading into microseconds; ``core.timing.provenance`` says whether the result is
measured, simulated or modelled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gatesearch.cost.blocks import PieceKey
from gatesearch.cost.programs import Programs
from gatesearch.cost.table import HostTimings
from gatesearch.devices.profile import Core

ByPiece = Mapping[PieceKey, float]


@dataclass(frozen=True)
class Readings:
    """The readings of one source.

    Args:
        by_name: readings by name, then by piece. The name is a core's name or that of
            :func:`gatesearch.cost.table.in_float_on`. Pieces that a core cannot run may be missing.
        tiles: number of output channels that are computed together, by block and name of the reading; a missing entry
            means 1.
        native: by core, timings of kernels and of the loop around programs.
    """

    by_name: Mapping[str, ByPiece]
    tiles: Mapping[tuple[str, str], int] = field(default_factory=dict)
    native: Mapping[str, HostTimings] = field(default_factory=dict)


class LatencySource(Protocol):
    """Reads pieces on cores of one kind."""

    def read(self, cores: Sequence[Core], programs: Programs) -> Readings:
        """Return the readings of all pieces on all of these cores.

        Args:
            cores: the cores of one device, all of the source's kind.
            programs: the pieces, counted and compiled.
        """
