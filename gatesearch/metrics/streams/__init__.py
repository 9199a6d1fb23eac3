"""Figures of a detector on labelled streams: false accepts per hour, miss rate, latency, DET curve.

A scene is one labelled stream. :func:`count_scene` counts hits, misses and false accepts of one scene, and
:func:`stream_figures` computes the figures of all scenes. The package needs only NumPy and SciPy.

>>> from gatesearch.metrics.streams import Detection, Event, count_scene, stream_figures
"""

from gatesearch.metrics.streams.activity import STEADY, Activity, measure_activity
from gatesearch.metrics.streams.counting import (
    COUNTINGS,
    GATESEARCH,
    MICROWAKEWORD,
    MLPERF_TINY,
    OPENWAKEWORD,
    PICOVOICE,
    Claim,
    Counting,
    counting_rule,
)
from gatesearch.metrics.streams.det import DetCurve, OperatingPoint
from gatesearch.metrics.streams.events import Background, Detection, Event
from gatesearch.metrics.streams.figures import Share, StreamFigures, stream_figures
from gatesearch.metrics.streams.intervals import (
    Interval,
    binomial_interval,
    doubt_about,
    enough_for,
    hours_for,
    poisson_interval,
)
from gatesearch.metrics.streams.matching import Match, match
from gatesearch.metrics.streams.scene_counts import SceneCounts, count_scene, events_passed, snr_band

__all__ = [
    "COUNTINGS",
    "GATESEARCH",
    "MICROWAKEWORD",
    "MLPERF_TINY",
    "OPENWAKEWORD",
    "PICOVOICE",
    "STEADY",
    "Activity",
    "Background",
    "Claim",
    "Counting",
    "DetCurve",
    "Detection",
    "Event",
    "Interval",
    "Match",
    "OperatingPoint",
    "SceneCounts",
    "Share",
    "StreamFigures",
    "binomial_interval",
    "count_scene",
    "counting_rule",
    "doubt_about",
    "enough_for",
    "events_passed",
    "hours_for",
    "match",
    "measure_activity",
    "poisson_interval",
    "snr_band",
    "stream_figures",
]
