"""What came of a plan that was tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Objectives(NamedTuple):
    """What a plan is judged by: accuracy (more is better), expected microseconds and microjoules a window."""

    accuracy: float
    latency_us: float
    energy_uj: float

    @property
    def minimised(self) -> tuple[float, float, float]:
        """The same, all to be minimised."""
        return (1.0 - self.accuracy, self.latency_us, self.energy_uj)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A plan tried: its objectives, and by how much it breaks each constraint (zero or less: kept)."""

    objectives: Objectives
    violations: Mapping[str, float]
