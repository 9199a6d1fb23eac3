"""The latency source for cores whose profile has a rate of multiply-accumulates."""

from __future__ import annotations

from collections.abc import Sequence

from gatesearch.cost.programs import Programs
from gatesearch.cost.sources.base import Readings
from gatesearch.devices.profile import Core


class RateSource:
    """Counts the multiply-accumulates of each module of a backbone; all count alike, whatever the operator.

    The count does not contain other work, such as additions. :class:`gatesearch.cost.stage.StagePricer` adds it by the
    profile's ``macs_per_value``, so a change of that figure changes prices without a new count.
    """

    def collect(self, cores: Sequence[Core], programs: Programs) -> Readings:
        """See :class:`gatesearch.cost.sources.base.LatencySource`."""
        macs = {key: counts.macs for key, counts in programs.counts.items()}
        return Readings({core.name: macs for core in cores})
