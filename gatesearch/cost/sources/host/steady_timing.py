"""Timing of short calls at moments when no other load disturbs their processor core.

Two hardware threads share a core. While the other thread works, matrix products take 1.1 times as long, loads from
memory 1.3 times and an interpreter 1.7 times (measured on an AMD EPYC of family 25). No single factor corrects all
timings, and the disturbance may last for seconds or for a millisecond. So a fixed amount of work, the *beat*, is timed
between any two calls. A slow beat shows a disturbance, and the calls next to it do not count.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gatesearch._lib.timing import elapsed_ns, not_collecting

AGREEMENT_RATIO = 1.03  # passes agree if the ratio of their medians is at most this
CLOCK_TICK_US = 0.1  # or if their medians differ by at most this
QUIET_BEAT_RATIO = 1.2  # a beat that takes longer than this multiple of the fastest is disturbed
MIN_QUIET_SAMPLES = 5  # undisturbed timings that a pass needs for a median
BEAT_ADDITIONS = range(100)


class Beat:
    """A fixed amount of Python work, which any load on the same core slows down; it stores its fastest time.

    >>> beat = Beat()
    >>> beat() >= beat.fastest_us > 0
    True
    """

    def __init__(self) -> None:
        self.fastest_us = math.inf

    def __call__(self) -> float:
        """Return microseconds: the shortest of three runs, because the first one has cold caches."""
        beat_us = min(elapsed_ns(_work, 1) for _ in range(3)) / 1e3
        self.fastest_us = min(self.fastest_us, beat_us)
        return beat_us


def _work() -> None:
    total = 0
    for number in BEAT_ADDITIONS:
        total += number


# All timings of the process share one beat: if a timing is disturbed throughout, its beats are slower than before.
PROCESS_BEAT = Beat()


@dataclass(frozen=True, slots=True)
class NetCall:
    """A call whose time counts only in part; the call returns the nanoseconds to subtract."""

    call: Callable[[], int]


Call = Callable[[], object] | NetCall


@dataclass(frozen=True, slots=True)
class Settled:
    """Timings that were repeated until they agreed or until the time was over.

    Args:
        us: microseconds of one call, by name: the median of the undisturbed samples.
        noisy: names with too few undisturbed samples, or with passes that do not agree.
        seconds: duration of all timings.
        beat_us: the fastest beat; two sets of timings are comparable if their beats are alike.
    """

    us: Mapping[str, float]
    noisy: tuple[str, ...]
    seconds: float
    beat_us: float


def spread(
    groups: Sequence[Mapping[str, Call]],
    seconds: float,
    least: float,
    rounds: int = 40,
    between: Callable[[], object] | None = None,
    beat: Beat = PROCESS_BEAT,
) -> Settled:
    """Time groups of calls in several passes, so that a slow period of the machine affects all groups alike.

    Within a pass the calls of a group take turns, so that each call finds the caches as the other calls leave them. The
    result is a median, not a minimum: the medians of parts add up to about the median of the whole, while the sum of
    the minima is smaller than the minimum of the whole. All groups are timed until ``least`` seconds have passed. After
    that, only groups with a call whose passes do not agree (:data:`AGREEMENT_RATIO`) are timed again, until all agree
    or ``seconds`` have passed.

    Args:
        groups: calls by name; no two groups have a name in common.
        seconds: seconds after which no further pass begins.
        least: minimum duration of the passes, in seconds.
        rounds: number of turns of each call in a pass.
        between: a function that runs, untimed, before each call of a group of one. It fills the caches with other data,
            as the call's surroundings would.
        beat: the beat that detects disturbances.

    >>> spread([{"sum": lambda: sum(range(1000))}], 0.02, 0.01).us["sum"] > 0
    True
    """
    passes: dict[str, list[list[_Sample]]] = {name: [] for calls in groups for name in calls}
    pending: Sequence[Mapping[str, Call]] = groups
    start = time.monotonic()
    while True:
        for calls in pending:
            for name, samples in _pass(calls, rounds, between if len(calls) == 1 else None, beat).items():
                passes[name].append(samples)
        elapsed_s = time.monotonic() - start
        results = {name: _combine(own, QUIET_BEAT_RATIO * beat.fastest_us) for name, own in passes.items()}
        noisy = {name for name, (_, agree) in results.items() if not agree}
        pending = groups if elapsed_s < least else [calls for calls in groups if noisy & calls.keys()]
        if elapsed_s > seconds or not pending:
            us = {name: call_us for name, (call_us, _) in results.items()}
            return Settled(us=us, noisy=tuple(sorted(noisy)), seconds=elapsed_s, beat_us=beat.fastest_us)


_Sample = tuple[float, float]  # microseconds of a call and of the slower of the beats around it


def _pass(
    calls: Mapping[str, Call], rounds: int, between: Callable[[], object] | None, beat: Beat
) -> dict[str, list[_Sample]]:
    samples: dict[str, list[_Sample]] = {name: [] for name in calls}
    with not_collecting():
        beat_before = beat()
        for _ in range(rounds):
            for name, call in calls.items():
                if between is not None:
                    between()
                call_us, beat_after = _elapsed_ns(call) / 1e3, beat()
                samples[name].append((call_us, max(beat_before, beat_after)))
                beat_before = beat_after
    return samples


def _elapsed_ns(call: Call) -> int:
    if not isinstance(call, NetCall):
        return elapsed_ns(call, 1)
    start = time.perf_counter_ns()
    excluded_ns = call.call()
    return time.perf_counter_ns() - start - excluded_ns


def _combine(passes: Sequence[Sequence[_Sample]], max_beat_us: float) -> tuple[float, bool]:
    """Return the microseconds of a call, and whether two passes agree on them.

    The result is the mean of the medians that are close to the smallest median. If no pass has enough undisturbed
    samples, the result is the minimum of all samples.
    """
    medians = sorted(_quiet_medians(passes, max_beat_us))
    if not medians:
        return min(call_us for samples in passes for call_us, _ in samples), False
    smallest = medians[0]
    near = [us for us in medians if us <= AGREEMENT_RATIO * smallest or us - smallest <= CLOCK_TICK_US]
    return statistics.fmean(near), len(near) > 1


def _quiet_medians(passes: Sequence[Sequence[_Sample]], max_beat_us: float) -> Iterator[float]:
    """Yield the median of the undisturbed samples of each pass that has enough of them."""
    for samples in passes:
        quiet = [call_us for call_us, beat_us in samples if beat_us <= max_beat_us]
        if len(quiet) >= min(MIN_QUIET_SAMPLES, len(samples)):
            yield statistics.median(quiet)
