"""What is believed of gates that were not tried, from those that were: error, constraints, who passes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from gatesearch.plan import GatePlan
from gatesearch.search.sampler.ehvi import LogNormal
from gatesearch.search.sampler.encoding import Features
from gatesearch.search.sampler.gp import Hyperparameters, Surrogate
from gatesearch.search.sampler.neighbours import Gates
from gatesearch.search.sampler.pass_rates import Passed, PassRates
from gatesearch.search.space import Space

Array = npt.NDArray[np.float64]
LEAST_ERROR = 1e-3
KNOWN = 1e-6  # deviation of the logarithm of an error that was observed, with other cores


class Tried(NamedTuple):
    """Gates that were tried: the error, by how much each constraint is broken, who reached which stage.

    ``deviation`` is that of the logarithm of an error that is forecast.
    """

    gates: Gates
    error: float
    violations: Mapping[str, float]
    passed: Passed | None
    deviation: float = 0.0


@dataclass
class Memory:
    """What was worked out before and stays so."""

    plans: dict[Gates, Array] = field(default_factory=dict)
    gates: dict[Gates, Array] = field(default_factory=dict)
    quality: Hyperparameters = field(default_factory=dict)
    passed: Hyperparameters = field(default_factory=dict)


class Belief:
    """After some trials, in their order.

    Args:
        features: of the space.
        space: of plans.
        tried: one entry a trial; cores change nothing here.
        shares: of each kind of window in the stream.
        unknown: for each kind, the pass rate of a gate of which nothing is known.
        memory: from beliefs after earlier trials of the same search; added to.
    """

    def __init__(
        self,
        features: Features,
        space: Space,
        tried: Sequence[Tried],
        shares: Mapping[str, float],
        unknown: Mapping[str, float],
        memory: Memory,
    ) -> None:
        self._features, self._memory, self._stages = features, memory, space.most + 1
        self._known = {one.gates: one for one in tried}
        self._shares = np.array(list(shares.values()))
        self._kinds = list(shares)
        apart = list(self._known.values())
        seen = [(one.gates, one.passed) for one in apart if one.passed]
        self._passed = PassRates(features, seen, shares, unknown, memory.passed, memory.gates)
        self._constraints = sorted({name for one in apart for name in one.violations})
        self._surrogate: Surrogate | None = None
        if apart:
            errors = [[np.log(max(LEAST_ERROR, one.error))] for one in apart]
            over = [[one.violations.get(name, 0.0) for name in self._constraints] for one in apart]
            values = np.hstack([errors, np.array(over).reshape(len(apart), -1)])
            self._surrogate = Surrogate(self._described([one.gates for one in apart]), values, memory.quality)

    @property
    def combinations(self) -> int:
        """Number of different combinations of gates that were tried."""
        return len(self._known)

    def quality(self, offered: Sequence[Gates]) -> tuple[LogNormal, Array]:
        """Return the belief of the error of gates, [m], and the probability that they keep the constraints, [m]."""
        assert self._surrogate is not None
        mean, deviation = self._surrogate(self._described(offered))
        for i, gates in enumerate(offered):
            if gates in self._known:
                one = self._known[gates]
                over = [one.violations.get(name, 0.0) for name in self._constraints]
                mean[i] = [np.log(max(LEAST_ERROR, one.error)), *over]
                # Constraints are on the error mostly, and as sure.
                deviation[i] = [max(KNOWN, one.deviation), *[max(KNOWN, one.deviation * one.error)] * len(over)]
        kept = ndtr(-mean[:, 1:] / np.maximum(deviation[:, 1:], KNOWN)).prod(1)
        return LogNormal(mean[:, 0], deviation[:, 0]), kept

    def reach(self, offered: Sequence[Gates]) -> Array:
        """Return the share of the stream that reaches each stage, [m, stages]."""
        reached = self._passed.reach(offered, self._stages)
        for i, gates in enumerate(offered):
            one = self._known.get(gates)
            if one is not None and one.passed:
                rows = np.array([one.passed[kind] for kind in self._kinds])
                reached[i, : rows.shape[1]] = self._shares @ rows
        return reached

    def _described(self, offered: Sequence[Gates]) -> Array:
        for gates in offered:
            if gates not in self._memory.plans:
                self._memory.plans[gates] = self._features.of_plan(GatePlan(gates))
        return np.array([self._memory.plans[gates] for gates in offered])
