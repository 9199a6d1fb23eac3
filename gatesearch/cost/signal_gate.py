"""The energy per hop of a gate that decides on the signal, before the front end.

A hop is the time from one decision to the next.
"""

from __future__ import annotations

from gatesearch.cost.frontend import FrontendWork
from gatesearch.cost.kernel_costs import KernelCosts
from gatesearch.devices.profile import Core
from gatesearch.gates.level import SignalFormat
from gatesearch.kernels.level import LevelKernel


def signal_gate_us(core: Core, costs: KernelCosts | None, form: SignalFormat) -> float:
    """Return the microseconds that the gate takes at a hop.

    If the core has a kernel table, the time follows from the table. Otherwise each multiply-accumulate of the gate
    takes as long as one of the front end.

    Args:
        core: the core that runs the front end.
        costs: the costs of the core's kernels; None if the core has no kernel table.
        form: the gate's format: statistic, window, hop and frame.
    """
    kernel = LevelKernel()
    call = kernel.call(form)
    reading = None if costs is None else costs.reading(call)
    return FrontendWork(int(kernel.macs(call)), reading).latency_us(core)
