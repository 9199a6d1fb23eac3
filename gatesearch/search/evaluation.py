"""The outcome of a plan that was tried: its objectives, its constraints, and details to store."""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Objectives(NamedTuple):
    """The numbers by which plans are compared: accuracy, and a window's expected latency [us] and energy [uJ]."""

    accuracy: float
    latency_us: float
    energy_uj: float

    @property
    def minimised(self) -> tuple[float, float, float]:
        """Error (1 - accuracy), latency and energy: less is better in all three."""
        return (1.0 - self.accuracy, self.latency_us, self.energy_uj)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The outcome of a plan.

    Args:
        objectives: the objectives that the plan reached.
        violations: by how much the plan breaks each constraint; zero or less where it keeps the constraint.
        details: anything else to store with the trial, as JSON values; the search does not read it.
    """

    objectives: Objectives
    violations: Mapping[str, float]
    details: Mapping[str, Any] = field(default_factory=dict)


def find_fault(outcome: Evaluated) -> str | None:
    """Return why an outcome cannot be stored: a number that is not finite, or a detail that is not JSON; else None.

    >>> find_fault(Evaluated(Objectives(0.9, float("nan"), 1.0), {}))
    'latency_us is nan'
    """
    if not isinstance(outcome, Evaluated):
        return f"evaluate returned {outcome!r:.100}, which is not an Evaluated"
    figures = dict(zip(Objectives._fields, outcome.objectives, strict=True)) | {
        f"constraint {name}": excess for name, excess in outcome.violations.items()
    }
    for name, value in figures.items():
        if not isinstance(value, numbers.Real) or not math.isfinite(value):
            return f"{name} is {value}"
    try:
        json.dumps(dict(outcome.details))
    except (TypeError, ValueError) as error:
        return f"its details are not JSON: {error}"
    return None


# For each preferred objective, a function that returns two values to minimise: the objective, then a tie-breaker.
PREFERENCES: Mapping[str, Callable[[Objectives], tuple[float, ...]]] = {
    "energy": lambda o: (o.energy_uj, -o.accuracy),
    "latency": lambda o: (o.latency_us, -o.accuracy),
    "accuracy": lambda o: (-o.accuracy, o.energy_uj),
}
