"""The latency source for the NPU Arm Ethos-U: the cycles that the Vela compiler estimates."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gatesearch.compile import vela
from gatesearch.cost.blocks import EMPTY, ComponentKey
from gatesearch.cost.programs import Programs
from gatesearch.cost.sources.base import Readings
from gatesearch.devices.profile import Core, Vela


class VelaSource:
    """Estimates the NPU cycles of each separately timed module (*component*) of a backbone.

    A component with an operator that Vela leaves to the CPU gets infinity, because Vela's cycle count does not include
    that operator.
    """

    def collect(self, cores: Sequence[Core], programs: Programs) -> Readings:
        """See :class:`gatesearch.cost.sources.base.LatencySource`."""
        return Readings({core.name: _cycles(core, programs) for core in cores})


def _cycles(core: Core, programs: Programs) -> dict[ComponentKey, float]:
    timing = core.timing
    assert isinstance(timing, Vela)
    cycles = {}
    for key, model in programs.runnable(core).items():
        result = vela.compile(model, timing.accelerator, timing.system_config, timing.memory_mode)
        cycles[key] = math.inf if result.cpu_operators else float(result.cycles)
    return {**cycles, EMPTY: 0.0}
