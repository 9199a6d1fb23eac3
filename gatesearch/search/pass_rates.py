"""How much of each kind of window a gate lets through, believed from the gates that were tried."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from gatesearch.gates import at_cuts
from gatesearch.plan import GatePlan
from gatesearch.search.candidates import Gates
from gatesearch.search.features import Features
from gatesearch.search.surrogate import Hyperparameters, Surrogate

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
        known: see :class:`gatesearch.search.surrogate.Surrogate`.
    """

    def __init__(
        self,
        features: Features,
        tried: Sequence[tuple[Gates, Passed]],
        shares: Mapping[str, float],
        unknown: Mapping[str, float],
        known: Hyperparameters | None = None,
    ) -> None:
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
        rows = [list(self._described(gates)) for gates in plans]
        counts = np.array([len(row) for row in rows])
        every = np.array([row for plan in rows for row in plan])
        if self._believed is None or not len(every):
            rates = np.tile(self._unknown, (len(every), 1))
        else:
            rates = expit(self._believed(every)[0])
        passing = np.zeros((len(plans), stages, len(self._shares)))
        passing[:, 0] = 1.0
        places = [(i, k + 1) for i, count in enumerate(counts) for k in range(count)]
        if places:
            passing[tuple(np.array(places).T)] = rates
        reached: Array = np.cumprod(passing, 1) @ self._shares
        return reached

    def _described(self, gates: Gates) -> Iterator[Array]:
        """Yield what describes each gate of a plan: itself, and what came before it."""
        thinned = 0.0
        for k, gate in enumerate(at_cuts(GatePlan(gates))):
            own = self._features.of_gate(gate)
            yield np.array([*own, k, thinned])
            thinned += own[1]
