"""How much of each kind of window a gate lets through, learnt from the gates that were tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from gatesearch.gates import cut_gates
from gatesearch.plan import GatePlan
from gatesearch.search.sampler.encoding import PlanEncoder
from gatesearch.search.sampler.gp import FitCache, GaussianProcess
from gatesearch.search.slots import Gates

Array = npt.NDArray[np.float64]
ReachShares = Mapping[str, Sequence[float]]  # for each kind of window, the share that reaches stage k; the first is 1
MIN_RATE = 0.005  # rates nearer to 0 or 1 count as this: a few hundred windows tell no more, and the logit stays finite
MIN_GATES = 3  # observed gates below which the prior rates hold


class PassRates:
    """Predicts, for each kind of window, the rate at which a gate passes the windows that reach it.

    The logits of the rates are modelled by a Gaussian process, so that predicted rates stay between 0 and 1. A gate is
    encoded with its position among the plan's gates and with what the gates before it took away: what reaches it are
    the windows that they could not tell apart.

    Args:
        encoder: of gates.
        observed: gates that were tried, and the shares that reached each stage.
        shares: of each kind of window in the stream.
        prior_rates: for each kind, the rate of a gate before there are observations.
        fits: see :class:`gatesearch.search.sampler.gp.GaussianProcess`.
        encoded: the encoded gates of plans, from predictions for the same space; new ones are added.
    """

    def __init__(
        self,
        encoder: PlanEncoder,
        observed: Sequence[tuple[Gates, ReachShares]],
        shares: Mapping[str, float],
        prior_rates: Mapping[str, float],
        fits: FitCache | None = None,
        encoded: dict[Gates, Array] | None = None,
    ) -> None:
        self._encoded = {} if encoded is None else encoded
        self._encoder, self._shares = encoder, np.array(list(shares.values()))
        self._prior_rates = np.array([prior_rates.get(kind, 1.0) for kind in shares])
        self._process: GaussianProcess | None = None
        rows, rates = [], []
        for gates, reached in observed:
            steps_by_kind = [list(pairwise(reached[kind])) for kind in shares]
            for row, steps in zip(self._encode(gates), zip(*steps_by_kind, strict=True), strict=True):
                rows.append(row)
                # A gate that no window of a kind reached says nothing of that kind: the prior rate stands in.
                rates.append(
                    [b / a if a > 0 else prior for (a, b), prior in zip(steps, self._prior_rates, strict=True)]
                )
        if len(rows) >= MIN_GATES:
            self._process = GaussianProcess(np.array(rows), logit(np.clip(rates, MIN_RATE, 1 - MIN_RATE)), fits)

    def predict_reach(self, candidates: Sequence[Gates], stages: int) -> Array:
        """Return the share of the stream that is predicted to reach each stage, [m, stages]; 0 after the last one."""
        rows = [self._encode(gates) for gates in candidates]
        all_rows = np.concatenate(rows)
        if self._process is None or not len(all_rows):
            rates = np.tile(self._prior_rates, (len(all_rows), 1))
        else:
            rates = expit(self._process.predict(all_rows)[0])
        passing = np.zeros((len(candidates), stages, len(self._shares)))
        passing[:, 0] = 1.0
        # Row i of all_rows is gate number gate[i] of candidate number candidate[i].
        counts = np.array([len(row) for row in rows])
        candidate = np.repeat(np.arange(len(candidates)), counts)
        gate = np.arange(len(all_rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        passing[candidate, gate + 1] = rates
        reach: Array = np.cumprod(passing, 1) @ self._shares
        return reach

    def _encode(self, gates: Gates) -> Array:
        """Return the vector of each gate at a cut site, [gates, features]."""
        if gates not in self._encoded:
            own = [self._encoder.encode_cut_gate(gate) for gate in cut_gates(GatePlan(gates))]
            reductions_before = np.cumsum([0.0, *(row[1] for row in own)])
            rows = [[*row, k, before] for k, (row, before) in enumerate(zip(own, reductions_before, strict=False))]
            self._encoded[gates] = np.array(rows).reshape(len(rows), self._encoder.gate_width + 2)
        return self._encoded[gates]
