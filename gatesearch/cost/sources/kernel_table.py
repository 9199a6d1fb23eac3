"""The latency source for cores with a kernel table: it adds up the kernel calls of each module."""

from __future__ import annotations

from collections.abc import Sequence

from gatesearch.cost.blocks import EMPTY
from gatesearch.cost.programs import SUMS_PER_JOINED_VALUE, Programs
from gatesearch.cost.sources import board
from gatesearch.cost.sources.base import ByComponent, Readings
from gatesearch.devices.profile import Core
from gatesearch.graph.operators import unfused_attention


class KernelTableSource:
    """Estimates the cost of each separately timed module (*component*) of a backbone, in the unit of the table.

    The cost of work without a kernel follows from the profile's figures.
    """

    def collect(self, cores: Sequence[Core], programs: Programs) -> Readings:
        """See :class:`gatesearch.cost.sources.base.LatencySource`."""
        return Readings({core.name: _by_calls(core, programs) for core in cores})


def _by_calls(core: Core, programs: Programs) -> ByComponent:
    costs = board.costs_of(core)
    assert costs is not None
    # A module that computes one hop joins its state with new frames. The table counts each joined value as a sum, which
    # is too much; so most of this cost is subtracted (see SUMS_PER_JOINED_VALUE).
    with unfused_attention():
        readings = {
            key: board.module_reading(core, costs, component.module, component.example[:1])
            - board.values_reading(core, costs, round((1 - SUMS_PER_JOINED_VALUE) * component.joined))
            for key, component in programs.components.items()
        }
    return {**readings, EMPTY: 0.0}  # the empty program holds a ReLU, but stands for the overhead of a call: none
