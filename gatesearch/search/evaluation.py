"""The outcome of a plan that was tried: objectives, constraints, and details to keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Objectives(NamedTuple):
    """What plans are compared by: accuracy (more is better), expected microseconds and microjoules a window."""

    accuracy: float
    latency_us: float
    energy_uj: float

    @property
    def minimised(self) -> tuple[float, float, float]:
        """The same, all to be minimised."""
        return (1.0 - self.accuracy, self.latency_us, self.energy_uj)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The outcome of a plan.

    Args:
        objectives: that it reached.
        violations: by how much it breaks each constraint; zero or less where it is kept.
        details: whatever else should be kept with the trial, as JSON values; the search does not read it.
    """

    objectives: Objectives
    violations: Mapping[str, float]
    details: Mapping[str, Any] = field(default_factory=dict)


# What to minimise where one objective is preferred.
PREFERENCES: Mapping[str, Callable[[Objectives], tuple[float, ...]]] = {
    "energy": lambda o: (o.energy_uj, -o.accuracy),
    "latency": lambda o: (o.latency_us, -o.accuracy),
    "accuracy": lambda o: (-o.accuracy, o.energy_uj),
}
