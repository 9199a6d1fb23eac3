"""The source of latencies for cores with a kernel table: a piece of a network costs its kernel calls."""

from __future__ import annotations

from collections.abc import Sequence

from gatesearch.cost.blocks import EMPTY
from gatesearch.cost.programs import Programs
from gatesearch.cost.sources import board
from gatesearch.cost.sources.base import ByPiece, Readings
from gatesearch.devices.profile import Core
from gatesearch.graph.operators import unfused_attention


class KernelTableSource:
    """Reads the unit of the table; work that it has no kernel for is read by the profile's figure for a MAC."""

    def read(self, cores: Sequence[Core], programs: Programs) -> Readings:
        """See :class:`gatesearch.cost.sources.base.LatencySource`."""
        return Readings({core.name: _by_calls(core, programs) for core in cores})


def _by_calls(core: Core, programs: Programs) -> ByPiece:
    costs = board.costs_of(core)
    assert costs is not None
    with unfused_attention():
        readings = {
            key: board.module_reading(core, costs, piece.module, piece.example[:1])
            for key, piece in programs.pieces.items()
        }
    return {**readings, EMPTY: 0.0}  # a call of kernels has no overhead; the empty program's ReLU would count as one
