"""How far a supernet can be trusted: whether it orders plans as trainings of their own do, and on which scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import theilslopes

from gatesearch.search.rank_correlation import kendall


@dataclass(frozen=True)
class Agreement:
    """What a sample of trained plans says of a supernet's estimates.

    Args:
        tau: Kendall's tau-b; minus one where all plans of the sample are worth the same, which tells nothing.
        plans: in the sample.
        slope, intercept: of the line that puts estimates on the scale of trained plans (Theil and Sen).

    >>> found = Agreement.of([0.5, 0.6, 0.8], [0.7, 0.75, 0.85])
    >>> found.tau, round(found.on_scale(0.7), 3)
    (1.0, 0.8)
    """

    tau: float
    plans: int
    slope: float
    intercept: float

    @classmethod
    def of(cls, estimated: Sequence[float], trained: Sequence[float]) -> Agreement:
        """Compare the quality of the same plans, at least two."""
        tau = kendall(estimated, trained)
        if len(set(estimated)) == 1 or len(set(trained)) == 1:
            return cls(tau, len(trained), 1.0, 0.0)
        line = theilslopes(trained, estimated, method="joint")
        return cls(tau, len(trained), float(line.slope), float(line.intercept))

    def on_scale(self, estimate: float) -> float:
        """Return what a training is expected to come to."""
        return self.intercept + self.slope * estimate
