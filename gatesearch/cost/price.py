"""What a plan costs, as values: each stage, each exit, and the expectation over the stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gatesearch.cost.energy import EnergyBreakdown, StageCost


@dataclass(frozen=True, slots=True)
class ExitEstimate:
    """An exit on the core of its stage: MACs a sample that leaves, parameters, time and energy of one run."""

    macs: float
    params: int
    cost: StageCost


@dataclass(frozen=True, slots=True)
class StageEstimate:
    """One stage of a plan on its core.

    Args:
        first_site, last_site: where it begins and ends; the last stage ends at ``"output"``.
        macs: per sample, gate head included.
        flash_bytes, sram_bytes: weights; activations alive at once.
        cost: time and energy of one run.
        provenance: how the time is known.
        exit: the cost of a sample that leaves through the exit of the stage's gate, beside the stage; None where it
            has none. Its bytes are in those of the stage: both wait in the same memory.
    """

    first_site: str
    last_site: str
    macs: float
    flash_bytes: float
    sram_bytes: float
    cost: StageCost
    provenance: str
    exit: ExitEstimate | None = None

    @property
    def runs(self) -> tuple[StageCost, ...]:
        """The stage's cost and, where it has one, its exit's."""
        return (self.cost,) if self.exit is None else (self.cost, self.exit.cost)


@dataclass(frozen=True, slots=True)
class Price:
    """What a plan costs over the stream, per window.

    ``reach`` is the share of the windows that reaches each stage; ``exits`` is, for each exit by the index of its
    stage, the energy by term, weighted by the share of the windows that leaves there.
    """

    reach: tuple[float, ...]
    expected_macs: float
    expected_latency_us: float
    longest_latency_us: float
    energy: EnergyBreakdown
    exits: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
