"""Timing of short calls while nothing else has their processor core, and knowing when that is.

Two hardware threads share a core. While the other one works, products take 1.1 times as long, loads 1.3 and an
interpreter 1.7 (measured on an AMD EPYC of family 25): no one factor takes that out of a timing again, and it may last
for seconds or be gone in a millisecond. So a fixed bit of work, the *beat*, is timed between any two calls, and what
lies beside a slow beat does not count.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gatesearch._lib.timing import elapsed_ns, not_collecting

AGREE = 1.03  # of the medians of two passes
TICK_US = 0.1
QUIET = 1.2  # beats that take longer than so many of the fastest are disturbed
FEW = 5  # undisturbed timings that a pass needs for a median
BEAT = range(100)


class Beat:
    """A fixed bit of work in Python, which any neighbour on the core slows down; it knows its fastest ever.

    >>> beat = Beat()
    >>> beat() >= beat.fastest_us > 0
    True
    """

    def __init__(self) -> None:
        self.fastest_us = math.inf

    def __call__(self) -> float:
        """Return microseconds; the least of three, the first of which finds cold caches."""
        taken = min(elapsed_ns(_work, 1) for _ in range(3)) / 1e3
        self.fastest_us = min(self.fastest_us, taken)
        return taken


def _work() -> None:
    total = 0
    for number in BEAT:
        total += number


# One for the process: a stretch of timings that was disturbed from end to end is known by those before it.
OF_PROCESS = Beat()


@dataclass(frozen=True, slots=True)
class Beside:
    """A call of which only a part counts: it returns the nanoseconds that do not."""

    call: Callable[[], int]


Call = Callable[[], object] | Beside


@dataclass(frozen=True, slots=True)
class Settled:
    """Timings that were repeated until they settled, or until time was up.

    Args:
        us: of one call in microseconds, by name: the median of what was undisturbed.
        noisy: names that were never undisturbed for long enough, or whose passes differ.
        seconds: taken.
        beat_us: the fastest beat; two sets of timings compare where theirs are alike.
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
    beat: Beat = OF_PROCESS,
) -> Settled:
    """Time groups of calls in several passes, so that a slow stretch of the machine falls on none of them alone.

    Within a pass the calls of a group take turns, one call each, so that they find the caches as the calls before left
    them. The median counts, not the minimum: medians of parts add up to that of a whole, minima come out below it.
    Passes go on until ``least`` seconds are over and two passes of every call agree to :data:`AGREE` with its fastest;
    then only through groups with calls that do not, until time is up.

    Args:
        groups: calls by name; names differ over all of them.
        seconds: after which no further pass begins.
        least: seconds over which passes are spread.
        rounds: of a group in a pass.
        between: run untimed before each call of a group of one, for what its surroundings leave of the caches.
        beat: tells what is undisturbed.

    >>> spread([{"sum": lambda: sum(range(1000))}], 0.02, 0.01).us["sum"] > 0
    True
    """
    seen: dict[str, list[list[_Sample]]] = {name: [] for calls in groups for name in calls}
    waiting: Sequence[Mapping[str, Call]] = groups
    start = time.monotonic()
    while True:
        for calls in waiting:
            for name, samples in _pass(calls, rounds, between if len(calls) == 1 else None, beat).items():
                seen[name].append(samples)
        gone = time.monotonic() - start
        told = {name: _told(passes, QUIET * beat.fastest_us) for name, passes in seen.items()}
        noisy = {name for name, (_, agreed) in told.items() if not agreed}
        waiting = groups if gone < least else [calls for calls in groups if noisy & calls.keys()]
        if gone > seconds or not waiting:
            us = {name: taken for name, (taken, _) in told.items()}
            return Settled(us, tuple(sorted(noisy)), gone, beat.fastest_us)


_Sample = tuple[float, float]  # microseconds of a call and of the slower of the beats around it


def _pass(
    calls: Mapping[str, Call], rounds: int, between: Callable[[], object] | None, beat: Beat
) -> dict[str, list[_Sample]]:
    seen: dict[str, list[_Sample]] = {name: [] for name in calls}
    with not_collecting():
        before = beat()
        for _ in range(rounds):
            for name, call in calls.items():
                if between is not None:
                    between()
                taken, behind = _elapsed_ns(call) / 1e3, beat()
                seen[name].append((taken, max(before, behind)))
                before = behind
    return seen


def _elapsed_ns(call: Call) -> int:
    if not isinstance(call, Beside):
        return elapsed_ns(call, 1)
    start = time.perf_counter_ns()
    left_out = call.call()
    return time.perf_counter_ns() - start - left_out


def _told(passes: Sequence[Sequence[_Sample]], limit: float) -> tuple[float, bool]:
    """Return what a call takes, and whether two passes agree on it."""
    medians = sorted(_medians(passes, limit))
    if not medians:
        return min(taken for samples in passes for taken, _ in samples), False
    near = [taken for taken in medians if taken <= AGREE * medians[0] or taken - medians[0] <= TICK_US]
    return statistics.fmean(near), len(near) > 1


def _medians(passes: Sequence[Sequence[_Sample]], limit: float) -> Iterator[float]:
    for samples in passes:
        quiet = [taken for taken, beat in samples if beat <= limit]
        if len(quiet) >= min(FEW, len(samples)):
            yield statistics.median(quiet)
