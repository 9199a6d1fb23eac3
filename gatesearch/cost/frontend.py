"""The work of a front end, which determines its time on a core.

The kernel table of a core holds the kernels of shipped front ends. For a front end without a kernel, the time follows
from its multiply-accumulates and the rate of the core's profile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from gatesearch.cost.sources import board
from gatesearch.devices.profile import Core
from gatesearch.frontends import Frontend
from gatesearch.gates import KernelCall


@dataclass(frozen=True, slots=True)
class FrontendWork:
    """The work of a front end for a window, or for a hop.

    Args:
        macs: number of multiply-accumulates.
        reading: the cost of the front end's kernel, in the unit of the core's timing; None without a kernel.
    """

    macs: int
    reading: float | None = None

    @classmethod
    def on_core(cls, frontend: Frontend, core: Core, hop: int | None = None) -> Self:
        """Return the work of a front end on a core, for a hop of ``hop`` samples or, with None, for a window."""
        macs = frontend.macs() if hop is None else frontend.hop_macs(hop)
        call, costs = frontend.frame_call(), board.costs_of(core)
        frame = None if call is None or costs is None else costs.reading(KernelCall(*call))
        return cls(macs, None if frame is None else frame * frontend.frame_count(hop))

    def latency_us(self, core: Core) -> float:
        """Return the time of the work on a core, in microseconds."""
        us = core.timing.frontend_us(self.macs) if self.reading is None else core.latency_us(self.reading)
        assert us is not None  # the device profile is valid only with this figure
        return us
