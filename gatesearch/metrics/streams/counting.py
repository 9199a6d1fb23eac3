"""Rules for counting hits, misses and false accepts: gatesearch's own rule, and the rules of published benchmarks.

A miss rate depends on the rule: the same detections can have 12 % misses under one rule and 4 % under another. Each
rule is a value, so that a report can show one run under several rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gatesearch.errors import unknown

Matching = Literal["first", "all", "each"]


@dataclass(frozen=True, slots=True)
class Claim:
    """The figures that a benchmark requires, or that a project publishes.

    Args:
        fa_per_hour: largest number of false accepts per hour.
        miss_rate: largest share of events without a detection; None if there is no limit.
    """

    fa_per_hour: float
    miss_rate: float | None = None


@dataclass(frozen=True, slots=True)
class Counting:
    """A rule that says which detections are hits, which are repeats of a hit, and which are false accepts.

    A detection can belong to an event of its class if it lies between the event's start and ``tolerance_s`` after the
    event's end, both included. Any other detection is a false accept. The misses are the number of events minus the
    number of hits, at least 0.

    Args:
        name: name of the rule in reports.
        tolerance_s: time in seconds after the end of an event in which a detection still counts for the event.
        matching: which detections belong to an event. ``"first"``: one detection; detections up to ``repeat_s`` later
            are repeats, and even later ones are false accepts. ``"all"``: all detections in the event's time that
            belong to no earlier event. ``"each"``: like ``"all"``, but each detection counts as a hit, so that two hits
            on one event hide a miss on another.
        repeat_s: time in seconds after a hit in which further detections are repeats, with matching ``"first"``.
        debounce_s: time in seconds after a counted false accept in which further false accepts, of any class, are not
            counted.
        smoothing: number of hops over which the benchmark averages outputs; None if it does not average.
        stream_s: length of the benchmark's own stream in seconds; None if the length is free.
        claim: the figures that the benchmark requires; None if it requires none.
        source: the publication of the rule.
    """

    name: str
    tolerance_s: float = 1.0
    matching: Matching = "first"
    repeat_s: float = 1.0
    debounce_s: float = 0.0
    smoothing: int | None = None
    stream_s: float | None = None
    claim: Claim | None = None
    source: str = ""


GATESEARCH = Counting("gatesearch", source="docs/glossary.md, Streams")

# The benchmark's runner adds one second to the end of an event, and one more in the comparison: two seconds in all. All
# detections in an event's time belong to the event. All others are false accepts. For one second after a counted
# false accept, further ones are not counted. 8 false accepts in 1,200 s are 24 per hour.
MLPERF_TINY = Counting(
    "mlperf_tiny",
    tolerance_s=2.0,
    matching="all",
    debounce_s=1.0,
    smoothing=1,
    stream_s=1200.0,
    claim=Claim(fa_per_hour=24.0, miss_rate=8 / 50),
    source="github.com/mlcommons/tiny, benchmark/runner, calc_detection_stats; "
    "MLPerf Tiny v1.3: at most 8 misses and 8 false accepts",
)

# The benchmark's labels end half a second after the recording of a word. Every detection inside a label counts as a
# hit. The benchmark does not debounce, because the engines that it tests do. It also rounds labels outwards to frames
# of 32 ms; this rule does not.
PICOVOICE = Counting(
    "picovoice",
    tolerance_s=0.5,
    matching="each",
    stream_s=24 * 3600.0,
    claim=Claim(fa_per_hour=0.1),
    source="github.com/Picovoice/wake-word-benchmark, benchmark.py and mixer.py: words in noise at 10 dB",
)

# The benchmark's positives are clips; each clip is one hit or one miss. False accepts within 50 predictions of 80 ms
# count once.
OPENWAKEWORD = Counting(
    "openwakeword",
    tolerance_s=0.0,
    matching="all",
    debounce_s=50 * 0.08,
    smoothing=1,
    claim=Claim(fa_per_hour=0.5, miss_rate=0.05),
    source="github.com/dscripka/openWakeWord, openwakeword/metrics.py and README.md, Project Goals",
)

# The benchmark's positives are clips. After a counted false accept, the benchmark ignores the next 74 predictions, one
# every 20 ms. It also skips the first 75 predictions of a recording; this rule does not.
MICROWAKEWORD = Counting(
    "microwakeword",
    tolerance_s=0.0,
    matching="all",
    debounce_s=74 * 0.02,
    smoothing=5,
    claim=Claim(fa_per_hour=0.12, miss_rate=0.02),
    source="github.com/kahrendt/microWakeWord, microwakeword/test.py, compute_false_accepts_per_hour",
)

COUNTINGS = {rule.name: rule for rule in (GATESEARCH, MLPERF_TINY, PICOVOICE, OPENWAKEWORD, MICROWAKEWORD)}


def counting_rule(name: str, where: str = "counting") -> Counting:
    """Return the counting rule that has a name; ``where`` starts the error message.

    Raises:
        UserError: no rule has this name; the message names the nearest one.

    >>> counting_rule("mlperf_tiny").tolerance_s
    2.0
    >>> counting_rule("mlperf")
    Traceback (most recent call last):
    ...
    gatesearch.errors.UserError: counting: unknown rule 'mlperf'; nearest: 'mlperf_tiny' (choices: gatesearch, \
mlperf_tiny, picovoice, openwakeword, microwakeword)
    """
    if name not in COUNTINGS:
        raise unknown(where, "rule", name, COUNTINGS)
    return COUNTINGS[name]
