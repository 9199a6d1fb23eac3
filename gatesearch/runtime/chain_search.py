"""The chains that a tuning considers: those on the front of price and misses, gate by gate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from gatesearch.metrics.streams import Activity, measure_activity
from gatesearch.runtime.chain import ChainScores, ChainSettings, SignalGate, collect_run
from gatesearch.runtime.detector import Array
from gatesearch.runtime.event_hops import EventHits, EventHops
from gatesearch.runtime.gate_choices import find_thresholds, gate_choices
from gatesearch.runtime.stream_gate import StreamGateSettings

MAX_PREFIXES = 8  # that go on to the next gate
# Misses beyond the allowed ones with which a chain stays: a detector that is set anew can win them back.
SPARE_SHARE, MIN_SPARE = 0.5, 2
OPEN = StreamGateSettings(threshold=-math.inf)

Price = Callable[[Sequence[Activity]], float]
Runs = tuple[Array, ...]
Thresholds = Mapping[int, tuple[float, ...]]
Choices = Callable[["Prefix"], Iterator[tuple[ChainSettings, Runs]]]


@dataclass(frozen=True, slots=True)
class Prefix:
    """A chain whose first gates are set and whose others are open.

    Args:
        settings: of the gates that are set.
        runs: whether each part runs, [parts][hops], up to the stage behind the last gate that is set.
        price: with all other gates open.
        misses: of the detector that is set for the open chain.
        recall: share of events of which the gates pass a window that holds them.
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
        scores: what the chain gives on the validation stream.
        held: the windows that hold events.
        hits: counts misses of the detector that is set for the open chain.
        price: of the activities of the front end and of each stage.
        signal_prices: what a gate on the signal adds to the price, by statistic; nothing where it has no entry.
        max_misses: events that a chain may miss.
        min_gate_recall: share of events of which the gates have to pass a window that holds them.
    """

    scores: ChainScores
    held: EventHops
    hits: EventHits
    price: Price
    signal_prices: Mapping[str, float]
    max_misses: int
    min_gate_recall: float

    def find_front(self) -> list[Prefix]:
        """Return whole chains, the cheapest first, of which none is beaten in price and misses.

        The last of them has all gates open. Where no window holds an event it is the only one: nothing says where a
        threshold should be.
        """
        every, count = np.ones(len(self.scores.posteriors), bool), self.scores.gates.shape[1]
        marks = self.held.mark()
        can_set = bool(marks.any())
        front = [self._measure(ChainSettings(()), (every, every))]
        if self.scores.signal and can_set:
            tables = {name: find_thresholds(values, marks) for name, values in self.scores.signal.items()}
            others = self._extend(front, partial(self._signal_choices, tables))
            front = self._select(front, others, is_last=not count)
        for k in range(count):
            passing = [self._measure(_add(each.settings, OPEN), (*each.runs, each.runs[-1])) for each in front]
            if can_set:
                table = find_thresholds(self.scores.gates[:, k], marks)
                others = self._extend(front, partial(self._stage_choices, k, table))
                passing = self._select(passing, others, is_last=k + 1 == count)
            front = passing
        return front

    def _signal_choices(self, tables: Mapping[str, Thresholds], prefix: Prefix) -> Iterator[tuple[ChainSettings, Runs]]:
        for statistic, thresholds in tables.items():
            for settings, is_open in gate_choices(self.scores.signal[statistic], prefix.runs[-1], thresholds):
                yield ChainSettings((), SignalGate(statistic, settings)), (is_open, is_open)

    def _stage_choices(self, gate: int, thresholds: Thresholds, prefix: Prefix) -> Iterator[tuple[ChainSettings, Runs]]:
        for settings, is_open in gate_choices(self.scores.gates[:, gate], prefix.runs[-1], thresholds):
            yield _add(prefix.settings, settings), (*prefix.runs, is_open)

    def _extend(self, front: Sequence[Prefix], choices: Choices) -> list[Prefix]:
        """Return the chains with one more gate that cost less than without it and may keep the bounds."""
        chains = []
        for prefix in front:
            for settings, runs in choices(prefix):
                chain = self._measure(settings, runs)
                keeps = chain.misses <= self._most_misses() and chain.recall >= self.min_gate_recall - 1e-9
                if keeps and chain.price < prefix.price:
                    chains.append(chain)
        return chains

    def _select(self, passing: Sequence[Prefix], others: Sequence[Prefix], *, is_last: bool) -> list[Prefix]:
        """Return the front of price and misses, the cheapest first, and behind it the chain with all gates open.

        Args:
            passing: chains whose last gate is open; in the last of them all gates are.
            others: further chains.
            is_last: whether no gate follows; otherwise at most :data:`MAX_PREFIXES` of the front go on.
        """
        front: list[Prefix] = []
        for chain in sorted([*passing, *others], key=lambda chain: (chain.price, chain.misses)):
            if not front or chain.misses < front[-1].misses:
                front.append(chain)
        if not is_last and len(front) > MAX_PREFIXES:
            front = [front[index] for index in np.linspace(0, len(front) - 1, MAX_PREFIXES).round().astype(int)]
        return [*(chain for chain in front if chain is not passing[-1]), passing[-1]]

    def _most_misses(self) -> int:
        return self.max_misses + max(MIN_SPARE, round(SPARE_SHARE * self.max_misses))

    def _measure(self, settings: ChainSettings, runs: Runs) -> Prefix:
        whole = runs + (runs[-1],) * (self.scores.gates.shape[1] + 2 - len(runs))
        price = self.price([measure_activity(part) for part in whole])
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
