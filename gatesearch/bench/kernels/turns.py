"""Timing calls in turn, each with warm caches, as in a loop over frames."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping

from gatesearch.hardware.timing import Timing

SAMPLE_S = 2e-4  # at least; the clock's own cost vanishes in it
SAMPLES = 5  # of a turn


def in_turn(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Timing]:
    """Time several calls in turn, A B C A B C ..., so that load and the drift of clocks meet them all alike.

    A turn runs its call untimed first, since the others have emptied the caches, and then takes several short samples:
    a busy machine takes the processor away for milliseconds, and leaves some of them whole.

    Args:
        calls: by name.
        rounds: how often each has its turn.

    >>> sorted(in_turn({"a": lambda: sum(range(9)), "b": lambda: None}, rounds=1))
    ['a', 'b']
    """
    counts = {name: _count(call) for name, call in calls.items()}
    seen: dict[str, list[float]] = {name: [] for name in calls}
    collecting = gc.isenabled()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, call in calls.items():
                _elapsed(call, counts[name])
                seen[name] += [_elapsed(call, counts[name]) / counts[name] for _ in range(SAMPLES)]
    finally:
        if collecting:
            gc.enable()
    return {name: Timing(1e6 * min(times), 1e6 * statistics.median(times), rounds) for name, times in seen.items()}


def _count(call: Callable[[], object]) -> int:
    count = 1
    while _elapsed(call, count) < SAMPLE_S:
        count *= 2
    return count


def _elapsed(call: Callable[[], object], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        call()
    return time.perf_counter() - start
