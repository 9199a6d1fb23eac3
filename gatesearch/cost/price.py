"""Value classes for the price of a plan: the cost of each stage and exit, and the expected cost over the stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gatesearch.cost.energy import EnergyBreakdown, StageCost


@dataclass(frozen=True, slots=True)
class ExitEstimate:
    """The cost of an exit, which runs on the core of its stage.

    Args:
        macs: multiply-accumulates (MACs) of one run.
        params: number of parameters.
        cost: time and energy of one run.
    """

    macs: float
    params: int
    cost: StageCost


@dataclass(frozen=True, slots=True)
class StageEstimate:
    """One stage of a plan on its core.

    Args:
        first_site: the site at which the stage begins.
        last_site: the site at which it ends; ``"output"`` for the last stage.
        macs: MACs per sample, including the gate's head.
        flash_bytes: flash for the stage's program and its exit's program together; see
            :meth:`gatesearch.cost.stage.StageWork.memory_bytes`.
        sram_bytes: SRAM for the stage or for its exit, whichever needs more; the two do not run at once.
        cost: time and energy of one run.
        provenance: the provenance of the time, such as ``"measured"``.
        exit: the additional cost of a sample that takes the exit of the stage's gate; None if the gate has no exit.
        width: bytes of a value of the stage's output.
        state_bytes: bytes of the state that stays in SRAM from hop to hop.
    """

    first_site: str
    last_site: str
    macs: float
    flash_bytes: float
    sram_bytes: float
    cost: StageCost
    provenance: str
    exit: ExitEstimate | None = None
    width: int = 1
    state_bytes: float = 0.0

    @property
    def runs(self) -> tuple[StageCost, ...]:
        """The cost of the stage and, if it has an exit, the cost of the exit."""
        return (self.cost,) if self.exit is None else (self.cost, self.exit.cost)


@dataclass(frozen=True, slots=True)
class Price:
    """The expected cost of a plan over the stream, per window.

    Args:
        reach: the share of the windows that reaches each stage.
        expected_macs: MACs of the stages and exits, weighted by the share of the windows for which they run.
        expected_latency_us: mean time of a window, front end included.
        longest_latency_us: time of a window on the longest path through stages and exits, front end included.
        energy: expected energy by term, core and stage.
        exits: by the index of a stage, the energy of its exit by term, weighted by the share of the windows that take
            the exit.
        utilisation: by core, the mean share of the period for which the core is busy.
        worst_utilisation: by core, the share of the period for which the core is busy if every window takes the core's
            worst path.
    """

    reach: tuple[float, ...]
    expected_macs: float
    expected_latency_us: float
    longest_latency_us: float
    energy: EnergyBreakdown
    exits: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    utilisation: Mapping[str, float] = field(default_factory=dict)
    worst_utilisation: Mapping[str, float] = field(default_factory=dict)
