"""What the trials say of plans that were not tried: their error, the constraints, the share that reaches each stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from gatesearch.plan import GatePlan
from gatesearch.search.sampler.ehvi import LogNormal
from gatesearch.search.sampler.encoding import PlanEncoder
from gatesearch.search.sampler.gp import FitCache, GaussianProcess
from gatesearch.search.sampler.pass_rates import PassRates, ReachShares
from gatesearch.search.slots import Gates

Array = npt.NDArray[np.float64]
MIN_ERROR = 1e-3  # smaller errors count as this, so that their logarithm is finite
OBSERVED_DEVIATION = 1e-6  # of the logarithm of an error that was observed, with other cores


class Observation(NamedTuple):
    """Gates that were tried.

    Args:
        gates: of the plan; its cores change costs alone.
        error: 1 - accuracy.
        violations: by how much each constraint is broken; zero or less where it is kept.
        reached: the share of each kind of window that reached each stage; None where it was not reported.
    """

    gates: Gates
    error: float
    violations: Mapping[str, float]
    reached: ReachShares | None


@dataclass
class PosteriorCache:
    """What posteriors after more trials of the same search need again: encoded plans and gates, and fits."""

    plans: dict[Gates, Array] = field(default_factory=dict)
    gates: dict[Gates, Array] = field(default_factory=dict)
    quality_fits: FitCache = field(default_factory=dict)
    pass_rate_fits: FitCache = field(default_factory=dict)


class Posterior:
    """Predictions after some trials.

    Errors are modelled by their logarithm: trainings differ by factors, and an error is never below zero. Constraints
    are modelled by how much they are broken, independently of each other, by the same Gaussian process.

    Args:
        encoder: of the space.
        stages: of a plan at most.
        observations: one for each trial, in order; of equal gates the last counts.
        shares: of each kind of window in the stream.
        prior_rates: for each kind, the pass rate of a gate before there are observations.
        cache: of earlier posteriors of the same search; new entries are added.
    """

    def __init__(
        self,
        encoder: PlanEncoder,
        stages: int,
        observations: Sequence[Observation],
        shares: Mapping[str, float],
        prior_rates: Mapping[str, float],
        cache: PosteriorCache,
    ) -> None:
        self._encoder, self._cache, self._stages = encoder, cache, stages
        self._observed = {one.gates: one for one in observations}
        self._shares = np.array(list(shares.values()))
        self._kinds = list(shares)
        distinct = list(self._observed.values())
        reached = [(one.gates, one.reached) for one in distinct if one.reached]
        self._pass_rates = PassRates(encoder, reached, shares, prior_rates, cache.pass_rate_fits, cache.gates)
        self._constraints = sorted({name for one in distinct for name in one.violations})
        self._process: GaussianProcess | None = None
        if distinct:
            values = np.array([self._targets(one) for one in distinct])
            self._process = GaussianProcess(self._encode([one.gates for one in distinct]), values, cache.quality_fits)

    @property
    def combinations(self) -> int:
        """Number of different combinations of gates that were tried."""
        return len(self._observed)

    def predict_quality(self, candidates: Sequence[Gates]) -> tuple[LogNormal, Array]:
        """Return the error of each candidate, [m], and the probability that it keeps all constraints, [m]."""
        assert self._process is not None
        mean, deviation = self._process.predict(self._encode(candidates))
        for i, gates in enumerate(candidates):
            if gates in self._observed:
                mean[i] = self._targets(self._observed[gates])
                deviation[i] = OBSERVED_DEVIATION
        feasible = ndtr(-mean[:, 1:] / np.maximum(deviation[:, 1:], OBSERVED_DEVIATION)).prod(1)
        return LogNormal(mean[:, 0], deviation[:, 0]), feasible

    def predict_reach(self, candidates: Sequence[Gates]) -> Array:
        """Return the share of the stream that reaches each stage, [m, stages]."""
        reach = self._pass_rates.predict_reach(candidates, self._stages)
        for i, gates in enumerate(candidates):
            one = self._observed.get(gates)
            if one is not None and one.reached:
                rows = np.array([one.reached[kind] for kind in self._kinds])
                reach[i, : rows.shape[1]] = self._shares @ rows
        return reach

    def _targets(self, one: Observation) -> list[float]:
        """Return what the Gaussian process is fitted to, [1 + constraints]."""
        return [np.log(max(MIN_ERROR, one.error)), *(one.violations.get(name, 0.0) for name in self._constraints)]

    def _encode(self, candidates: Sequence[Gates]) -> Array:
        for gates in candidates:
            if gates not in self._cache.plans:
                self._cache.plans[gates] = self._encoder.encode_plan(GatePlan(gates))
        return np.array([self._cache.plans[gates] for gates in candidates])
