"""Prices a plan with perfect gates at the plan's own sites: a bound on what any gates at these sites can save.

A perfect gate is open exactly at the hops whose windows hold an event. It costs as much as the plan's gate at its site.
"""

from __future__ import annotations

from gatesearch.cost.price import Price
from gatesearch.metrics.streams import STEADY, Activity
from gatesearch.pipeline.rivals import Rival
from gatesearch.runtime.chain import ChainSettings, measure_parts
from gatesearch.runtime.detector import DetectorSettings
from gatesearch.runtime.event_hops import EventHops
from gatesearch.training.stream_split import StreamSplit


def price_perfect_gates(
    rival: Rival, settings: ChainSettings, detector: DetectorSettings, stream: StreamSplit
) -> Price:
    """Return the mean price of a hop if each gate of a model is open exactly at the hops whose windows hold an event.

    Args:
        rival: the model with its plan and its cost model.
        settings: the gates of the model. The price depends on their number, and on whether a gate stands before the
            front end.
        detector: settings of the detector, which give the time at which each hop ends.
        stream: the stream with its events.
    """
    signal = None if settings.signal is None else settings.signal.statistic
    return rival.price(perfect_activities(settings, detector, stream), signal)[1]


def perfect_activities(
    settings: ChainSettings, detector: DetectorSettings, stream: StreamSplit
) -> tuple[Activity, ...]:
    """Return the activity of the front end and of each stage with perfect gates.

    Without a gate before the front end, the front end and the first stage always run.
    """
    holds_event = EventHops.find(stream.events, detector, len(stream.features)).mark()
    [on_demand] = measure_parts([holds_event])
    first = STEADY if settings.signal is None else on_demand
    return (first, first, *(on_demand for _ in settings.gates))
