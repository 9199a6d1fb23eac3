"""Setting all gates of a chain and its detector together: least price at no more than the allowed misses.

Smoothing and hold cut openings, a threshold cuts open hops, and an event that one gate stops cannot be missed again
behind it. So no gate is set alone. A prefix is a chain whose first gates are set and whose others are open. Gate by
gate, the prefixes on the front of price and misses go on with every setting of the next gate. At the end the detector
is set anew for each chain on the front, the cheapest first, until one keeps the misses.

All of it computes on arrays of one recording over which the network ran once; see :mod:`gatesearch.runtime.chain`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gatesearch.metrics.streams import Activity
from gatesearch.runtime.chain import ChainRun, ChainScores, ChainSettings, collect_run
from gatesearch.runtime.chain_search import ChainSearch, Price
from gatesearch.runtime.detector import DetectorSettings
from gatesearch.runtime.detector_tuning import (
    CURVE_POINTS,
    SceneOutputs,
    TunedDetector,
    tune_detector,
)
from gatesearch.runtime.event_hops import EventHits, EventHops

QUICK_POINTS = 4  # thresholds of the detector tried at a time while a chain is only a candidate


@dataclass(frozen=True, slots=True)
class TunedChain:
    """The settings of a chain, and what they give on the validation stream.

    Args:
        settings: of its gates.
        detector: set for the hops that these gates let through, with its operating point.
        activities: of the front end and of each stage.
        price: of these activities.
        open_detector: set for the same network with all gates open, with its operating point.
        doubt: why all gates stay open; None where they are set.
    """

    settings: ChainSettings
    detector: TunedDetector
    activities: tuple[Activity, ...]
    price: float
    open_detector: TunedDetector
    doubt: str | None = None


def tune_chain(
    scores: ChainScores,
    settings: DetectorSettings,
    fa_per_hour: float,
    max_miss_rate: float,
    price: Price,
    *,
    min_gate_recall: float = 0.0,
    signal_prices: Mapping[str, float] | None = None,
) -> TunedChain:
    """Set the gates of a chain and its detector for the least price; the same arguments give the same settings.

    A chain without a gate on the signal is always among the candidates. Where no chain keeps the misses all gates stay
    open, and ``doubt`` says so.

    Args:
        scores: what the chain gives on the validation stream.
        settings: of the detector; its smoothing, hits and threshold are not read.
        fa_per_hour: the most false accepts an hour.
        max_miss_rate: the largest share of events without a detection.
        price: of the activities of the front end and of each stage; it does not fall where one of them grows.
        min_gate_recall: share of events of which the gates have to pass a window that holds them.
        signal_prices: what a gate on the signal adds to the price, by statistic; nothing where it has no entry.

    Raises:
        DataError: there are no hops, the rate is below 0, or a score is not finite.
    """

    def tune(chain: ChainRun, points: int) -> TunedDetector:
        outputs = SceneOutputs(chain.posteriors, scores.events, chain.stopped)
        return tune_detector([outputs], settings, fa_per_hour, points=points)

    hops, parts = len(scores.posteriors), scores.gates.shape[1] + 2
    open_detector = tune(collect_run(scores, (np.ones(hops, bool),) * parts), CURVE_POINTS)
    search = ChainSearch(
        scores=scores,
        held=EventHops.find(scores.events, settings, hops),
        hits=EventHits.find(scores.events, open_detector.settings, hops),
        price=price,
        signal_prices=signal_prices or {},
        max_misses=int(max_miss_rate * len(scores.events) + 1e-9),
        min_gate_recall=min_gate_recall,
    )
    *gated, all_open = search.find_front()

    def keeps(tuned: TunedDetector) -> bool:
        return tuned.point.miss_rate <= max_miss_rate + 1e-9

    for chain in gated:
        run = collect_run(scores, chain.runs)
        # A quick setting of the detector rules most chains out; the thorough one has the last word.
        if keeps(tune(run, QUICK_POINTS)) and keeps(detector := tune(run, CURVE_POINTS)):
            return TunedChain(
                settings=chain.settings,
                detector=detector,
                activities=run.activities(),
                price=chain.price,
                open_detector=open_detector,
            )
    doubt = (
        f"no setting of the gates misses at most {max_miss_rate:.1%} of the validation stream's events at "
        f"{fa_per_hour:g} false accepts an hour; all gates stay open, which misses {open_detector.point.miss_rate:.1%}"
    )
    activities = collect_run(scores, all_open.runs).activities()
    return TunedChain(
        settings=all_open.settings,
        detector=open_detector,
        activities=activities,
        price=all_open.price,
        open_detector=open_detector,
        doubt=None if keeps(open_detector) else doubt,
    )
