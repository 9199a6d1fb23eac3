"""The energy of a gate on the signal, before the front end, at each hop of a stream."""

from __future__ import annotations

from gatesearch.cost.model import CostModel
from gatesearch.gates.level import SignalFormat
from gatesearch.kernels.level import LevelKernel


def signal_gate_uj(cost: CostModel, form: SignalFormat) -> float:
    """Return the microjoules that the gate takes at a hop, on the core that runs the front end.

    Where the core has a table of kernels, its reading counts. Elsewhere a sum of the gate takes as long as a
    multiply-accumulate of the front end.

    Args:
        cost: the cost model, whose device has the core.
        form: statistic, window, hop and frame.
    """
    core, kernel = cost.sense_core, LevelKernel()
    call, costs = kernel.call(form), cost.kernels.get(core.name)
    reading = None if costs is None else costs.reading(call)
    us = core.timing.frontend_us(kernel.macs(call)) if reading is None else core.latency_us(reading)
    assert us is not None  # the device profile is valid only with this figure
    return core.compute_uj(us)
