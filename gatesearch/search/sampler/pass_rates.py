"""Predicts the share of each kind of window that a gate passes, from the gates that were tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from gatesearch.search.sampler.combinations import Combination
from gatesearch.search.sampler.gp import FitCache, GaussianProcess

Array = npt.NDArray[np.float64]
# Rates are clipped to [MIN_RATE, 1 - MIN_RATE], so that their logit stays finite. The rates come from a few hundred
# windows, which resolve no smaller rate.
MIN_RATE = 0.005
MIN_GATES = 3  # with fewer observed gates, the prior rates are the prediction


class PassRates:
    """Predicts, for each kind of window, the rate at which a gate passes the windows that reach it.

    A Gaussian process models the logits of the rates, so predicted rates stay between 0 and 1. A gate gets only the
    windows that earlier gates pass. Therefore its features include its index among the plan's gates, and how much the
    gates before it reduce their tensors.

    Args:
        observed: combinations of gates that were tried, each with the share of each kind of window that reached each
            stage, [kinds, stages].
        read_first: a function that returns the observations to which hyperparameters are fitted; see
            :class:`gatesearch.search.sampler.gp.GaussianProcess`.
        shares: the share of each kind of window in the stream, [kinds].
        prior_rates: for each kind of window, the rate of a gate before there are observations, [kinds].
        fits: the hyperparameters of earlier fits; see :class:`gatesearch.search.sampler.gp.GaussianProcess`.
    """

    def __init__(
        self,
        observed: Sequence[tuple[Combination, Array]],
        read_first: Callable[[], Sequence[tuple[Combination, Array]]],
        shares: Array,
        prior_rates: Array,
        fits: FitCache,
    ) -> None:
        self._shares, self._prior_rates = shares, prior_rates
        self._process: GaussianProcess | None = None
        rows, logits = self._gate_rows(observed)
        if len(rows) >= MIN_GATES:
            self._process = GaussianProcess(rows, logits, fits, lambda: self._gate_rows(read_first()))

    def predict_reach(self, candidates: Sequence[Combination], stages: int) -> Array:
        """Return the predicted share of the stream that reaches each stage, [candidates, stages].

        A candidate with fewer stages has zeros behind its last stage.
        """
        rows = np.concatenate([candidate.gate_features for candidate in candidates])
        if self._process is None or not len(rows):
            rates = np.tile(self._prior_rates, (len(rows), 1))
        else:
            rates = expit(self._process.predict(rows)[0])
        passing = np.zeros((len(candidates), stages, len(self._shares)))
        passing[:, 0] = 1.0
        # ``passing`` [candidates, stages, kinds] gets the rate of each gate at the stage behind the gate. Row i of
        # ``rows`` is gate number gate[i] of candidate number candidate_index[i]. The product of the rates along the
        # stages is the share of each kind that reaches a stage.
        counts = np.array([len(candidate.gate_features) for candidate in candidates])
        candidate_index = np.repeat(np.arange(len(candidates)), counts)
        gate = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        passing[candidate_index, gate + 1] = rates
        reach: Array = np.cumprod(passing, 1) @ self._shares
        return reach

    def _gate_rows(self, observed: Sequence[tuple[Combination, Array]]) -> tuple[Array, Array]:
        """Return the features of all observed gates, [m, features], and the logits of their rates, [m, kinds]."""
        if not observed:
            return np.zeros((0, 0)), np.zeros((0, len(self._shares)))
        before = np.concatenate([reached[:, :-1] for _, reached in observed], 1).T
        after = np.concatenate([reached[:, 1:] for _, reached in observed], 1).T
        # If no window of a kind reached a gate, its rate for that kind is the prior rate.
        priors = np.broadcast_to(self._prior_rates, before.shape).copy()
        rates = np.divide(after, before, out=priors, where=before > 0)
        rows = np.concatenate([combination.gate_features for combination, _ in observed])
        return rows, logit(np.clip(rates, MIN_RATE, 1 - MIN_RATE))
