"""Latency by a profile's figure for a multiply-accumulate: the reading of a piece is its MACs."""

from __future__ import annotations

from collections.abc import Sequence

from gatesearch.cost.programs import Programs
from gatesearch.cost.sources.base import Readings
from gatesearch.devices.profile import Core


class RateSource:
    """Reads multiply-accumulates: one is like another, whatever the operator."""

    def read(self, cores: Sequence[Core], programs: Programs) -> Readings:
        """See :class:`gatesearch.cost.sources.base.LatencySource`."""
        macs = {key: counts["macs"] for key, counts in programs.counts.items()}
        return Readings({core.name: macs for core in cores})
