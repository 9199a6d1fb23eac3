"""How much of each kind of window a gate lets through, believed from the gates that were tried."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from gatesearch.gates import at_cuts
from gatesearch.plan import GatePlan
from gatesearch.search.features import Features
from gatesearch.search.surrogate import Surrogate

Array = npt.NDArray[np.float64]
Passed = Mapping[str, Sequence[float]]
LEAST = 0.005  # nearer to 0 or 1 no pass rate is taken to be known
FEWEST = 3  # gates of a kind of window, before anything is believed


class PassRates:
    """Believes what fits the trials: for each kind of window, the rate at which a gate passes what reaches it.

    Args:
        features: of gates.
        tried: plans, and for each kind of window the share that reached stage k, the first being 1.
        unknown: for each kind, the pass rate of a gate before there is anything to go by.
    """

    def __init__(
        self, features: Features, tried: Sequence[tuple[GatePlan, Passed]], unknown: Mapping[str, float]
    ) -> None:
        self._features, self._unknown = features, unknown
        self._believed: dict[str, Surrogate] = {}
        for kind in unknown:
            known, rates = [], []
            for plan, passed in tried:
                for described, (before, after) in zip(self._described(plan), pairwise(passed[kind]), strict=True):
                    if before > 0:
                        known.append(described)
                        rates.append(after / before)
            if len(known) >= FEWEST:
                self._believed[kind] = Surrogate(np.array(known), logit(np.clip(rates, LEAST, 1 - LEAST)))

    def __call__(self, plans: Sequence[GatePlan]) -> Sequence[Passed]:
        """Return for each plan and kind of window the share that is believed to reach stage k."""
        rows = [list(self._described(plan)) for plan in plans]
        every = np.array([row for plan in rows for row in plan])
        rates = {kind: self._rates(kind, every) for kind in self._unknown}
        found, first = [], 0
        for row in rows:
            last = first + len(row)
            found.append({kind: [1.0, *np.cumprod(rates[kind][first:last]).tolist()] for kind in rates})
            first = last
        return found

    def _rates(self, kind: str, gates: Array) -> Array:
        if kind not in self._believed or not len(gates):
            return np.full(len(gates), self._unknown[kind])
        mean, _ = self._believed[kind](gates)
        rates: Array = expit(mean)
        return rates

    def _described(self, plan: GatePlan) -> Iterator[Array]:
        """Yield what describes each gate of a plan: itself, and what came before it."""
        thinned = 0.0
        for k, gate in enumerate(at_cuts(plan)):
            own = self._features.of_gate(gate)
            yield np.array([*own, k, thinned])
            thinned += own[1]
