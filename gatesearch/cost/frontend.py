"""The work of a front end, which determines its time on a core.

The kernel table of a core holds the kernels of shipped front ends. For a front end without a kernel, the time follows
from its multiply-accumulates and the rate of the core's profile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from torch import Tensor

from gatesearch._lib import console
from gatesearch._lib.tensors import to_float
from gatesearch.cost.sources import board
from gatesearch.devices.profile import Core
from gatesearch.frontends import Frontend
from gatesearch.frontends.base import CHUNK_SAMPLES
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


def follow_core(frontend: Frontend, core: Core, inputs: Tensor) -> None:
    """Let a fitted front end compute in fixed point if the core runs it so, and if its inputs fit.

    The price of a core with a kernel table counts the kernel in fixed point; listening and firmware then compute alike.

    Args:
        frontend: the front end, fitted on the inputs.
        core: the core that runs it.
        inputs: the training split, [N, *input_shape]; sound in float needs the full scale 1, as a microphone has one.
    """
    if FrontendWork.on_core(frontend, core).reading is None:
        return
    largest = max((float(to_float(chunk).abs().max()) for chunk in inputs.split(CHUNK_SAMPLES)), default=0.0)
    if largest > 1:
        console.warn(
            f"frontend.name: {frontend.name} computes in float: samples reach {largest:.3g}, and fixed point needs the "
            f"full scale 1; the price on core {core.name} counts fixed point"
        )
        return
    frontend.use_fixed_point()  # a plug-in with a kernel of its own has no other form
