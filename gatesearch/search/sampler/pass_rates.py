"""How much of each kind of window a gate lets through, believed from the gates that were tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from gatesearch.gates import cut_gates
from gatesearch.plan import GatePlan
from gatesearch.search.sampler.encoding import Features
from gatesearch.search.sampler.gp import Hyperparameters, Surrogate
from gatesearch.search.sampler.neighbours import Gates

Array = npt.NDArray[np.float64]
Passed = Mapping[str, Sequence[float]]
LEAST = 0.005  # nearer to 0 or 1 no pass rate is taken to be known
FEWEST = 3  # gates, before anything is believed


class PassRates:
    """Believes what fits the trials: for each kind of window, the rate at which a gate passes what reaches it.

    Args:
        features: of gates.
        tried: gates, and for each kind of window the share that reached stage k, the first being 1.
        shares: of each kind in the stream.
        unknown: for each kind, the pass rate of a gate before there is anything to go by.
        known: see :class:`gatesearch.search.sampler.gp.Surrogate`.
        described: what describes the gates of plans, from earlier beliefs of the same space; added to.
    """

    def __init__(
        self,
        features: Features,
        tried: Sequence[tuple[Gates, Passed]],
        shares: Mapping[str, float],
        unknown: Mapping[str, float],
        known: Hyperparameters | None = None,
        described: dict[Gates, Array] | None = None,
    ) -> None:
        self._rows = {} if described is None else described
        self._features, self._shares = features, np.array(list(shares.values()))
        self._unknown = np.array([unknown.get(kind, 1.0) for kind in shares])
        self._believed: Surrogate | None = None
        seen, rates = [], []
        for gates, passed in tried:
            pairs = [list(pairwise(passed[kind])) for kind in shares]
            for described, steps in zip(self._described(gates), zip(*pairs, strict=True), strict=True):
                seen.append(described)
                # Where nothing of a kind arrived, nothing was seen; the usual rate says the least.
                rates.append([b / a if a > 0 else u for (a, b), u in zip(steps, self._unknown, strict=True)])
        if len(seen) >= FEWEST:
            self._believed = Surrogate(np.array(seen), logit(np.clip(rates, LEAST, 1 - LEAST)), known)

    def reach(self, plans: Sequence[Gates], stages: int) -> Array:
        """Return the share of the stream that is believed to reach each stage, [m, stages]; 0 behind the last."""
        rows = [self._described(gates) for gates in plans]
        every = np.concatenate(rows)
        if self._believed is None or not len(every):
            rates = np.tile(self._unknown, (len(every), 1))
        else:
            rates = expit(self._believed(every)[0])
        passing = np.zeros((len(plans), stages, len(self._shares)))
        passing[:, 0] = 1.0
        counts = np.array([len(row) for row in rows])
        plan = np.repeat(np.arange(len(plans)), counts)
        gate = np.arange(len(every)) - np.repeat(np.cumsum(counts) - counts, counts)
        passing[plan, gate + 1] = rates
        reached: Array = np.cumprod(passing, 1) @ self._shares
        return reached

    def _described(self, gates: Gates) -> Array:
        """Return what describes each gate of a plan, [gates, features]: itself, and what came before it."""
        if gates not in self._rows:
            own = [self._features.of_gate(gate) for gate in cut_gates(GatePlan(gates))]
            before = np.cumsum([0.0, *(row[1] for row in own)])
            rows = [[*row, k, thinned] for k, (row, thinned) in enumerate(zip(own, before, strict=False))]
            self._rows[gates] = (
                np.array(rows).reshape(len(rows), -1) if rows else np.zeros((0, self._features.gate + 2))
            )
        return self._rows[gates]
