"""Searches the settings of all gates of a chain, gate by gate, for a low price and few misses.

A chain is the front end and the stages of a network, with gates between them. The search keeps the front: the chains
that no other chain beats in both price and misses.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from gatesearch.metrics.streams import Activity
from gatesearch.runtime.chain import ChainScores, ChainSettings, SignalGate, collect_run, measure_parts
from gatesearch.runtime.detector import Array
from gatesearch.runtime.event_hops import EventHits, EventHops
from gatesearch.runtime.gate_choices import find_thresholds, gate_choices
from gatesearch.runtime.stream_gate import StreamGateSettings

MAX_PREFIXES = 16  # largest number of chains on the front that are continued with the next gate
# The search keeps chains that miss up to so many events more than allowed: this share of the allowed misses, or this
# number if it is larger. A detector that is tuned for the chain afterwards may detect some of these events.
SPARE_SHARE, MIN_SPARE = 0.5, 2
OPEN = StreamGateSettings(threshold=-math.inf)

Price = Callable[[Sequence[Activity]], float]
Runs = tuple[Array, ...]
Thresholds = Mapping[int, tuple[float, ...]]
Choices = Callable[["Prefix"], Iterator[tuple[ChainSettings, Runs]]]


@dataclass(frozen=True, slots=True)
class Prefix:
    """A chain whose first gates have settings and whose other gates are open.

    Args:
        settings: settings of the first gates.
        runs: whether each part runs at each hop, [parts][hops], up to the stage behind the last gate with settings.
        price: price of the chain with all other gates open.
        misses: number of events that are missed by the detector that is tuned for the chain with all gates open.
        recall: share of events for which the gates pass at least one window that holds the event.
    """

    settings: ChainSettings
    runs: Runs
    price: float
    misses: int
    recall: float


@dataclass(frozen=True)
class ChainSearch:
    """A search over the settings of all gates of a chain.

    Args:
        scores: outputs of the chain on the validation stream.
        held: the windows that hold events.
        hits: counter of misses, with the detector that is tuned for the chain with all gates open.
        price: function that returns the price for the activities of the front end and of each stage.
        signal_prices: price that a gate on the signal adds, by statistic; a statistic without an entry adds nothing.
        max_misses: largest allowed number of missed events.
        min_gate_recall: least share of events for which the gates pass at least one window that holds the event.
    """

    scores: ChainScores
    held: EventHops
    hits: EventHits
    price: Price
    signal_prices: Mapping[str, float]
    max_misses: int
    min_gate_recall: float

    def find_chains(self) -> tuple[list[Prefix], list[Prefix]]:
        """Return the front of complete chains, cheapest first, and complete chains that are not on the front.

        No other chain beats a chain of the front in both price and misses. The last chain of the front has all gates
        open. If no window holds an event, it is the only one, because thresholds cannot be chosen without events.
        """
        every_hop, count = np.ones(len(self.scores.posteriors), bool), self.scores.gates.shape[1]
        marks = self.held.mark()
        can_set = bool(marks.any())
        front, others = [self._measure(ChainSettings(()), (every_hop, every_hop))], list[Prefix]()
        if self.scores.signal and can_set:
            tables = {name: find_thresholds(values, marks) for name, values in self.scores.signal.items()}
            others = self._extend(front, partial(self._signal_choices, tables))
            front = self._select(front, others, is_last=not count)
        for k in range(count):
            with_open_gate = [self._measure(_add(each.settings, OPEN), (*each.runs, each.runs[-1])) for each in front]
            if can_set:
                table = find_thresholds(self.scores.gates[:, k], marks)
                others = self._extend(front, partial(self._stage_choices, k, table))
                front = self._select(with_open_gate, others, is_last=k + 1 == count)
            else:
                front = with_open_gate
        ids_of_front = {id(chain) for chain in front}
        return front, [chain for chain in others if id(chain) not in ids_of_front]

    def _signal_choices(self, tables: Mapping[str, Thresholds], prefix: Prefix) -> Iterator[tuple[ChainSettings, Runs]]:
        for statistic, thresholds in tables.items():
            for settings, is_open in gate_choices(self.scores.signal[statistic], prefix.runs[-1], thresholds):
                yield ChainSettings((), SignalGate(statistic, settings)), (is_open, is_open)

    def _stage_choices(self, gate: int, thresholds: Thresholds, prefix: Prefix) -> Iterator[tuple[ChainSettings, Runs]]:
        for settings, is_open in gate_choices(self.scores.gates[:, gate], prefix.runs[-1], thresholds):
            yield _add(prefix.settings, settings), (*prefix.runs, is_open)

    def _extend(self, front: Sequence[Prefix], choices: Choices) -> list[Prefix]:
        """Return chains with settings for one more gate that lower the price and may keep the limits."""
        chains = []
        for prefix in front:
            for settings, runs in choices(prefix):
                chain = self._measure(settings, runs)
                keeps_limits = chain.misses <= self._most_misses() and chain.recall >= self.min_gate_recall - 1e-9
                if keeps_limits and chain.price < prefix.price:
                    chains.append(chain)
        return chains

    def _select(self, with_open_gate: Sequence[Prefix], others: Sequence[Prefix], *, is_last: bool) -> list[Prefix]:
        """Return the front of price and misses, cheapest first, and then the chain with all gates open.

        Args:
            with_open_gate: chains whose last gate is open; the last of these chains has all gates open.
            others: other chains.
            is_last: whether no further gate follows; if one does, at most :data:`MAX_PREFIXES` chains stay.
        """
        front: list[Prefix] = []
        for chain in sorted([*with_open_gate, *others], key=lambda chain: (chain.price, chain.misses)):
            if not front or chain.misses < front[-1].misses:
                front.append(chain)
        if not is_last and len(front) > MAX_PREFIXES:
            front = [front[index] for index in np.linspace(0, len(front) - 1, MAX_PREFIXES).round().astype(int)]
        return [*(chain for chain in front if chain is not with_open_gate[-1]), with_open_gate[-1]]

    def _most_misses(self) -> int:
        return self.max_misses + max(MIN_SPARE, round(SPARE_SHARE * self.max_misses))

    def _measure(self, settings: ChainSettings, runs: Runs) -> Prefix:
        whole = runs + (runs[-1],) * (self.scores.gates.shape[1] + 2 - len(runs))
        price = self.price(measure_parts(whole))
        if settings.signal is not None:
            price += self.signal_prices.get(settings.signal.statistic, 0.0)
        run = collect_run(self.scores, whole)
        return Prefix(
            settings=settings,
            runs=runs,
            price=price,
            misses=self.hits.count_misses(run.posteriors, run.stopped),
            recall=self.held.recall(run.stopped),
        )


def _add(settings: ChainSettings, gate: StreamGateSettings) -> ChainSettings:
    return replace(settings, gates=(*settings.gates, gate))
