"""Rules for counting hits, misses and false accepts: ours, and those of published benchmarks.

A miss rate says nothing without its rule: the same detections score 12 % misses under one and 4 % under another. Each
rule is a value, so that one run can be shown under several.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gatesearch.errors import unknown

Matching = Literal["first", "all", "each"]


@dataclass(frozen=True, slots=True)
class Claim:
    """The figures that a benchmark asks for, or that a project publishes.

    Args:
        fa_per_hour: the most false accepts an hour.
        miss_rate: the largest share of events without a detection; None where none is fixed.
    """

    fa_per_hour: float
    miss_rate: float | None = None


@dataclass(frozen=True, slots=True)
class Counting:
    """A rule that says which detections are hits, which are the same again, and which are false accepts.

    A detection belongs to an event of its class if it lies between the event's start and ``tolerance_s`` after its end,
    both included. A detection of another class, or outside, is a false accept.

    Args:
        name: by which reports show it.
        tolerance_s: seconds after the end of an event in which a detection still counts for it.
        matching: which detections an event takes. ``"first"``: one, and those up to ``repeat_s`` after it are the same;
            later ones are false accepts. ``"all"``: every one in its time that no earlier event took. ``"each"``: like
            ``"all"``, and each of them counts as a hit, so that two on one event hide a miss on another.
        repeat_s: see above.
        debounce_s: a false accept up to so long after a counted one of any class is not counted again.
        smoothing: hops over which the benchmark averages outputs; None where it takes detections as they come.
        stream_s: length of the benchmark's own stream in seconds; None where it is free.
        claim: what the benchmark asks for; None where it asks for nothing.
        source: where the rule can be read.
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

# The runner adds its second to the end of an event, and once more where it compares, so that two seconds count. An
# event takes all detections in its time; what is left is debounced. 8 false accepts in 1,200 s are 24 an hour.
MLPERF_TINY = Counting(
    "mlperf_tiny",
    tolerance_s=2.0,
    matching="all",
    debounce_s=1.0,
    smoothing=1,
    stream_s=1200.0,
    claim=Claim(fa_per_hour=24.0, miss_rate=8 / 50),
    source="github.com/mlcommons/tiny, benchmark/runner, calc_detection_stats; MLPerf Tiny v1.3: at most 8 of each",
)

# Labels end half a second after the recording of a word. Every detection inside counts as a hit, with no debounce:
# engines hold themselves back. The benchmark also rounds labels outwards to frames of 32 ms, which is left out here.
PICOVOICE = Counting(
    "picovoice",
    tolerance_s=0.5,
    matching="each",
    stream_s=24 * 3600.0,
    claim=Claim(fa_per_hour=0.1),
    source="github.com/Picovoice/wake-word-benchmark, benchmark.py and mixer.py: words in noise at 10 dB",
)

# Positives are clips, each one hit or one miss. False positives are grouped over 50 predictions of 80 ms.
OPENWAKEWORD = Counting(
    "openwakeword",
    tolerance_s=0.0,
    matching="all",
    debounce_s=50 * 0.08,
    smoothing=1,
    claim=Claim(fa_per_hour=0.5, miss_rate=0.05),
    source="github.com/dscripka/openWakeWord, openwakeword/metrics.py and README.md, Project Goals",
)

# Positives are clips. After a false accept the next one counts 75 predictions of 20 ms later at the earliest. The first
# 75 of a recording are skipped as well, which is left out here.
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
    """Return the rule of that name.

    Raises:
        UserError: there is none; the message names the nearest.

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
