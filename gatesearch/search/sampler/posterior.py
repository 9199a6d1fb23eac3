"""Predicts the error, the constraints and the share of windows that reaches each stage, for untried plans."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from gatesearch.search.sampler.combinations import Combination, Combinations
from gatesearch.search.sampler.ehvi import LogNormal
from gatesearch.search.sampler.gp import MAX_OBSERVATIONS, FitCache, GaussianProcess
from gatesearch.search.sampler.history import EndedTrial, History
from gatesearch.search.sampler.pass_rates import PassRates

Array = npt.NDArray[np.float64]
Matches = Sequence[EndedTrial | None]
MIN_ERROR = 1e-3  # smaller errors count as this, so that their logarithm is finite
OBSERVED_DEVIATION = 1e-6  # standard deviation of the log error of a plan whose gates were tried, on any cores


@dataclass
class FitCaches:
    """The fitted hyperparameters of earlier posteriors of the same study."""

    quality: dict[tuple[str, ...], FitCache] = field(default_factory=dict)  # by names of the constraints
    pass_rates: FitCache = field(default_factory=dict)


class Posterior:
    """Predicts the quality of plans, and the share of windows that reaches each stage, from the ended trials.

    A Gaussian process models the logarithm of the error, because the errors of trainings differ by factors and an error
    is never below zero. The same process models by how much a plan breaks each constraint. It models the constraints
    independently of each other and of the error.

    Args:
        history: the history of the study.
        combinations: the combinations of the space.
        stages: the largest number of stages of a plan.
        shares: the shares of each kind of window in the stream.
        prior_rates: for each kind of window, the pass rate of a gate before there are observations.
        fits: hyperparameters of earlier posteriors of the same study; new fits are added.
    """

    def __init__(
        self,
        history: History,
        combinations: Combinations,
        stages: int,
        shares: Mapping[str, float],
        prior_rates: Mapping[str, float],
        fits: FitCaches,
    ) -> None:
        self._history, self._stages = history, stages
        self._combinations = combinations
        self._shares = np.array(list(shares.values()))
        self._constraints = tuple(sorted(history.constraints))
        self._observed = self._lookup(select_observations(history))
        self._pass_rates = PassRates(
            _select_gates(_reached(self._observed)),
            lambda: _reached(self._first()),
            self._shares,
            np.array([prior_rates.get(kind, 1.0) for kind in shares]),
            fits.pass_rates,
        )
        self._process: GaussianProcess | None = None
        if self._observed:
            features, values = self._rows(self._observed)
            quality_fits = fits.quality.setdefault(self._constraints, {})
            self._process = GaussianProcess(features, values, quality_fits, lambda: self._rows(self._first()))

    @property
    def count(self) -> int:
        """Number of different combinations of gates that were tried."""
        return len(self._history.observations)

    @property
    def observed(self) -> list[Combination]:
        """The tried combinations from which the posterior predicts."""
        return list(self._observed)

    def match(self, candidates: Sequence[Combination]) -> list[EndedTrial | None]:
        """Return the observation of each candidate; None for a candidate that was not tried."""
        others = self._history.observations
        return [self._observed.get(candidate) or others.get(candidate.gates) for candidate in candidates]

    def predict_quality(self, candidates: Sequence[Combination], matches: Matches) -> tuple[LogNormal, Array]:
        """Return the error of each candidate, [m], and the probability that it keeps all constraints, [m].

        Args:
            candidates: combinations of gates, [m].
            matches: the observations that :meth:`match` returns for the candidates, [m].
        """
        assert self._process is not None
        mean = np.empty((len(candidates), 1 + len(self._constraints)))
        deviation = np.full_like(mean, OBSERVED_DEVIATION)
        unknown = [i for i, one in enumerate(matches) if one is None]
        matched = [(i, self._targets(one)) for i, one in enumerate(matches) if one is not None]
        if matched:
            mean[[i for i, _ in matched]] = [targets for _, targets in matched]
        if unknown:
            features = np.array([candidates[i].features for i in unknown])
            mean[unknown], deviation[unknown] = self._process.predict(features)
        # A violation has a normal distribution. The product is over the probabilities that a violation is at most 0.
        feasible = ndtr(-mean[:, 1:] / np.maximum(deviation[:, 1:], OBSERVED_DEVIATION)).prod(1)
        return LogNormal(mean[:, 0], deviation[:, 0]), feasible

    def predict_reach(self, candidates: Sequence[Combination], matches: Matches) -> Array:
        """Return the share of the stream that reaches each stage, [m, stages].

        Args:
            candidates: combinations of gates, [m].
            matches: the observations that :meth:`match` returns for the candidates, [m].
        """
        reach = np.zeros((len(candidates), self._stages))
        unknown = []
        for i, one in enumerate(matches):
            if one is None or one.reached is None:
                unknown.append(i)
            else:
                reach[i, : one.reached.shape[1]] = self._shares @ one.reached
        if unknown:
            reach[unknown] = self._pass_rates.predict_reach([candidates[i] for i in unknown], self._stages)
        return reach

    def _first(self) -> dict[Combination, EndedTrial]:
        return self._lookup(self._history.first_observations(MAX_OBSERVATIONS))

    def _lookup(self, trials: Sequence[EndedTrial]) -> dict[Combination, EndedTrial]:
        combinations = self._combinations.lookup_observed([one.plan.gates for one in trials])
        return dict(zip(combinations, trials, strict=True))

    def _rows(self, observed: Mapping[Combination, EndedTrial]) -> tuple[Array, Array]:
        """Return the features [n, d] and the targets [n, 1 + constraints] of n observed trials."""
        features = [combination.features for combination in observed]
        return np.array(features), np.array([self._targets(one) for one in observed.values()])

    def _targets(self, one: EndedTrial) -> list[float]:
        """Return the values of a trial to which the Gaussian process is fitted, [1 + constraints]."""
        assert one.minimised is not None
        error = math.log(max(MIN_ERROR, one.minimised[0]))
        return [error, *(one.violations.get(name, 0.0) for name in self._constraints)]


def select_observations(history: History) -> list[EndedTrial]:
    """Return the observations from which a posterior predicts, in the order of their gates' first trials.

    If there are at most :data:`MAX_OBSERVATIONS`, the result holds all observations; otherwise, those of
    :func:`select_places`.
    """
    every = history.first_observations()
    if len(every) <= MAX_OBSERVATIONS:
        return every
    return [every[k] for k in select_places(len(every), history.places(history.front[-MAX_OBSERVATIONS // 2 :]))]


def select_places(count: int, front: Sequence[int]) -> list[int]:
    """Return at most :data:`MAX_OBSERVATIONS` of more observations, as rising indices.

    The result holds three groups: observations on the front, the newest of the others, and some that are spread evenly
    over the rest of the search. The newest are chosen because they lie near the front. The distance between
    observations of the third group is a power of two. So this group stays the same while the search grows, until the
    distance doubles, and the features of its gates need not be computed again for each proposal.

    Args:
        count: number of observations.
        front: indices of observations on the front, at most half of :data:`MAX_OBSERVATIONS`.
    """
    is_chosen = np.zeros(count, dtype=bool)
    is_chosen[list(front)] = True
    rest = MAX_OBSERVATIONS - int(is_chosen.sum())
    others = np.flatnonzero(~is_chosen)
    is_chosen[others[-(rest // 2) :]] = True
    older = int(others[-(rest // 2)])  # observations before this one are older than the newest
    distance = 1
    while math.ceil(older / distance) > rest - rest // 2:
        distance *= 2
    is_chosen[:older:distance] = True
    places: list[int] = np.flatnonzero(is_chosen).tolist()
    return places


def _reached(observed: Mapping[Combination, EndedTrial]) -> list[tuple[Combination, Array]]:
    return [(combination, one.reached) for combination, one in observed.items() if one.reached is not None]


def _select_gates(observed: Sequence[tuple[Combination, Array]]) -> Sequence[tuple[Combination, Array]]:
    """Return evenly spread combinations that have at most about :data:`MAX_OBSERVATIONS` gates together."""
    gates = sum(len(combination.gate_features) for combination, _ in observed)
    if gates <= MAX_OBSERVATIONS:
        return observed
    count = len(observed) * MAX_OBSERVATIONS // gates
    return [observed[k] for k in np.linspace(0, len(observed) - 1, count).round().astype(int)]
