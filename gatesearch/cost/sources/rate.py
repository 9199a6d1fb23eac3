"""The source of latencies for cores whose profile has a rate of multiply-accumulates."""

from __future__ import annotations

from collections.abc import Sequence

from gatesearch.cost.programs import Programs
from gatesearch.cost.sources.base import Readings
from gatesearch.devices.profile import Core


class RateSource:
    """Reads multiply-accumulates: one is like another, whatever the operator.

    Work without products is no part of a reading: :class:`gatesearch.cost.stage.StagePricer` adds it by the profile's
    ``macs_per_value``, so that a price follows when that figure changes.
    """

    def read(self, cores: Sequence[Core], programs: Programs) -> Readings:
        """See :class:`gatesearch.cost.sources.base.LatencySource`."""
        macs = {key: counts.macs for key, counts in programs.counts.items()}
        return Readings({core.name: macs for core in cores})
