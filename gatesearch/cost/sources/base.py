"""The base class of sources of latencies.

A core's timing says how its latency is known. The *source* of that kind reads the pieces of a backbone in the unit of
the timing; ``core.timing.latency_us`` alone turns a reading into microseconds, and ``core.timing.provenance`` says how
far the result is to be trusted.
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
    """What one source reads.

    Args:
        by_name: by the name of the reading, which is a core's name or :func:`gatesearch.cost.table.in_float_on` of it,
            then by piece. Pieces that a core cannot run may be missing.
        tiles: output channels that are computed together, by block and name of the reading; 1 where it has no entry.
        native: by core, what was timed beside programs.
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
