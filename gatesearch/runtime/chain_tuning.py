"""Tunes all gates of a chain and its detector together, for the lowest price with few enough missed events.

A chain is the front end and the stages of a network, with gates between them. Its gates depend on each other. For
example, an event that one gate stops cannot be missed again by a later gate. So they are tuned together, in these
steps:

1. The network runs once over a validation stream with open gates (:mod:`gatesearch.runtime.chain`).
2. Gate by gate, a search tries every setting of the next gate. It keeps the front of price and misses, with all later
   gates open (:mod:`gatesearch.runtime.chain_search`).
3. For each complete chain on the front, cheapest first, the detector is tuned again. The first chain that misses few
   enough events is the result. Then some cheaper chains that are not on the front are tuned, too. If one of them also
   misses few enough events, the cheapest such chain is the result instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gatesearch.metrics.streams import Activity
from gatesearch.runtime.chain import ChainRun, ChainScores, ChainSettings, collect_run
from gatesearch.runtime.chain_search import ChainSearch, Prefix, Price
from gatesearch.runtime.detector import DetectorSettings
from gatesearch.runtime.detector_tuning import (
    CURVE_POINTS,
    SceneOutputs,
    TunedDetector,
    tune_detector,
)
from gatesearch.runtime.event_hops import EventHits, EventHops

MAX_OTHERS = 12  # largest number of chains that are tuned although they are not on the front
QUICK_POINTS = 4  # number of thresholds that a quick tuning of the detector tries at a time


@dataclass(frozen=True, slots=True)
class TunedChain:
    """The tuned settings of a chain, with its figures on the validation stream.

    Args:
        settings: settings of the gates.
        detector: the detector that is tuned for these gates, with its operating point.
        activities: activity of the front end and of each stage.
        price: price of these activities.
        open_detector: the detector that is tuned for the same network with all gates open, with its operating point.
        doubt: a line that says why all gates stay open; None if there is no such reason.
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
    max_miss_rise: float = 0.0,
    min_gate_recall: float = 0.0,
    signal_prices: Mapping[str, float] | None = None,
) -> TunedChain:
    """Tune the gates of a chain and its detector for the least price; the result is deterministic.

    Chains without a gate on the signal are always among the candidates. If no chain keeps the allowed misses, all gates
    stay open, and ``doubt`` says so.

    Args:
        scores: outputs of the chain on the validation stream.
        settings: settings of the detector; smoothing, hits and threshold are ignored, because the tuning sets them.
        fa_per_hour: largest allowed number of false accepts per hour.
        max_miss_rate: largest allowed share of events without a detection.
        price: function that returns the price for the activities of the front end and of each stage. The price must
            not fall when an activity grows.
        max_miss_rise: allowed rise of the miss rate above that of the same network with all gates open; 0 for none.
            This rise is allowed even if the miss rate then exceeds ``max_miss_rate``, so that a network that was
            trained too briefly for ``max_miss_rate`` still gets gates.
        min_gate_recall: least share of events for which the gates pass at least one window that holds the event.
        signal_prices: price that a gate on the signal adds, by statistic; a statistic without an entry adds nothing.

    Raises:
        DataError: there are no hops, ``fa_per_hour`` is below 0, or a score is not finite.
    """

    def tune(chain: ChainRun, points: int) -> TunedDetector:
        outputs = SceneOutputs(chain.posteriors, scores.events, chain.stopped)
        return tune_detector([outputs], settings, fa_per_hour, points=points)

    def keeps(tuned: TunedDetector) -> bool:
        return tuned.point.miss_rate <= max_miss_rate + 1e-9

    def tune_if_kept(chain: Prefix) -> TunedDetector | None:
        """Return the tuned detector of a chain; None if the chain breaks the limit on misses."""
        run = collect_run(scores, chain.runs)
        # A quick tuning of the detector excludes most chains. Only the others need the thorough one.
        if not keeps(tune(run, QUICK_POINTS)):
            return None
        thorough = tune(run, CURVE_POINTS)
        return thorough if keeps(thorough) else None

    hops, parts = len(scores.posteriors), scores.gates.shape[1] + 2
    open_detector = tune(collect_run(scores, (np.ones(hops, bool),) * parts), CURVE_POINTS)
    max_miss_rate = max(max_miss_rate, open_detector.point.miss_rate + max_miss_rise if max_miss_rise else 0.0)
    search = ChainSearch(
        scores=scores,
        held=EventHops.find(scores.events, settings, hops),
        hits=EventHits.find(scores.events, open_detector.settings, hops),
        price=price,
        signal_prices=signal_prices or {},
        max_misses=int(max_miss_rate * len(scores.events) + 1e-9),
        min_gate_recall=min_gate_recall,
    )
    front, others = search.find_chains()
    best: tuple[Prefix, TunedDetector] | None = None
    for chain in front[:-1]:
        if (detector := tune_if_kept(chain)) is not None:
            best = chain, detector
            break
    # With the detector that is tuned for open gates, the chains in ``others`` miss more events than a chain on the
    # front. With a detector that is tuned for the chain itself, one of them may still miss few enough events.
    bound = front[-1].price if best is None else best[0].price
    cheaper = sorted((chain for chain in others if chain.price < bound), key=lambda chain: (chain.misses, chain.price))
    for chain in sorted(cheaper[:MAX_OTHERS], key=lambda chain: chain.price):
        if (detector := tune_if_kept(chain)) is not None:
            best = chain, detector
            break
    if best is not None:
        chain, detector = best
        return TunedChain(
            settings=chain.settings,
            detector=detector,
            activities=collect_run(scores, chain.runs).activities(),
            price=chain.price,
            open_detector=open_detector,
        )
    all_open = front[-1]
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
