"""Timing short calls side by side on a machine that is not ours alone, and saying which machine that was."""

from __future__ import annotations

import gc
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

# What decides how fast int8 and float kernels run; the rest of a CPU's flags does not.
FLAGS = frozenset(
    {"sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx_vnni"}
    | {"avx512_bf16", "amx_int8", "amx_tile"}
    | {"neon", "asimd", "asimddp", "i8mm", "bf16", "sve", "sve2", "fphp"}
)
LIBRARIES = (
    "torch",
    "ai-edge-litert",
    "ai-edge-quantizer",
    "litert-torch",
    "tflite-micro",
    "ethos-u-vela",
    "onnxruntime",
    "numpy",
)


AGREE = 1.05
TICK_US = 0.2


@dataclass(frozen=True, slots=True)
class Timing:
    """Microseconds of one call: the best round, the middle round, and how many rounds there were.

    Load from elsewhere only ever adds time, so the minimum is the better estimate of the call; the median
    beside it shows how busy the machine was.
    """

    minimum_us: float
    median_us: float
    rounds: int


def interleaved(
    calls: Mapping[str, Callable[[], object]], rounds: int = 15, min_seconds: float = 2e-4, samples: int = 1
) -> dict[str, Timing]:
    """Time several calls in turn, A B C A B C ..., so that drift in the machine's speed meets them all alike.

    Args:
        calls: functions without arguments, by name.
        rounds: how often each name has its turn.
        min_seconds: a turn repeats its call until it lasts at least this long, so that the clock's own cost
            vanishes.
        samples: of a turn. With more than one, a turn first runs its call untimed, since the others have emptied the
            caches; a busy machine takes the processor away for milliseconds, and leaves some of the samples whole.

    Returns:
        A timing for every name. Compare only figures of the same call of this function.

    Raises:
        ValueError: fewer than one round.

    >>> sorted(interleaved({"a": lambda: sum(range(100)), "b": lambda: None}, rounds=2))
    ['a', 'b']
    """
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, found {rounds}")
    repeats = {name: _repeats(call, min_seconds) for name, call in calls.items()}
    seen: dict[str, list[float]] = {name: [] for name in calls}
    with not_collecting():
        for _ in range(rounds):
            for name, call in calls.items():
                if samples > 1:
                    _elapsed_ns(call, repeats[name])
                seen[name] += [_elapsed_ns(call, repeats[name]) / repeats[name] / 1e3 for _ in range(samples)]
    return {name: Timing(min(times), statistics.median(times), rounds) for name, times in seen.items()}


@dataclass(frozen=True, slots=True)
class Settled:
    """Timings that were repeated until they settled, or until time was up.

    Args:
        minimum_us: by name.
        noisy: names whose fastest calls still differ: on a quiet machine a few of them agree.
        seconds: taken.
    """

    minimum_us: Mapping[str, float]
    noisy: tuple[str, ...]
    seconds: float


def settled(calls: Mapping[str, Callable[[], object]], seconds: float = 40.0, rounds: int = 40) -> Settled:
    """Time calls one by one in turn, as they follow each other in a network, and again those that were disturbed.

    Every call is timed by itself and not repeated in a turn, so that it finds the caches as the calls before it left
    them. A call has settled when its fastest tenth lies within :data:`AGREE` of its minimum.

    Args:
        calls: by name.
        seconds: after which no further rounds begin.
        rounds: of a repetition.

    >>> settled({"sum": lambda: sum(range(1000))}, seconds=0.01).minimum_us["sum"] > 0
    True
    """
    seen: dict[str, list[float]] = {name: [] for name in calls}
    start, waiting = time.monotonic(), dict(calls)
    while waiting:
        for name, times in _single(waiting, rounds).items():
            seen[name] += times
        left = [name for name in waiting if not _agrees(seen[name])]
        if time.monotonic() - start > seconds:
            return Settled({n: min(times) for n, times in seen.items()}, tuple(left), time.monotonic() - start)
        waiting = {name: calls[name] for name in left}
    return Settled({name: min(times) for name, times in seen.items()}, (), time.monotonic() - start)


def spread(
    groups: Sequence[Mapping[str, Callable[[], object]]],
    seconds: float,
    least: float,
    rounds: int = 40,
    between: Callable[[], object] | None = None,
) -> Settled:
    """Time groups of calls in several passes, so that a slow stretch of the machine falls on none of them alone.

    Within a pass the calls of a group take turns. Passes go on until ``least`` seconds are over and the two fastest
    passes of every call agree to :data:`AGREE`; then only through groups with calls that do not, until time is up.

    Args:
        groups: calls by name; names differ over all of them.
        seconds: after which no further pass begins.
        least: seconds over which passes are spread.
        rounds: of a group in a pass.
        between: run untimed before each call of a group of one, for what its surroundings leave of the caches.

    >>> spread([{"sum": lambda: sum(range(1000))}], 0.02, 0.01).minimum_us["sum"] > 0
    True
    """
    best: dict[str, list[float]] = {name: [] for calls in groups for name in calls}
    disturbed: set[str] = set()
    waiting: Sequence[Mapping[str, Callable[[], object]]] = groups
    start = time.monotonic()
    while waiting:
        for calls in waiting:
            for name, times in _single(calls, rounds, between if len(calls) == 1 else None).items():
                best[name].append(min(times))
        gone = time.monotonic() - start
        disturbed = {name for name, times in best.items() if not _two_agree(times)}
        if gone > seconds:
            break
        waiting = groups if gone < least else [calls for calls in groups if disturbed & calls.keys()]
    return Settled({name: min(times) for name, times in best.items()}, tuple(disturbed), time.monotonic() - start)


def _two_agree(times: Sequence[float]) -> bool:
    first, *rest = sorted(times)
    return bool(rest) and (rest[0] <= AGREE * first or rest[0] - first <= TICK_US)


def _agrees(times: Sequence[float]) -> bool:
    fastest = sorted(times)[: max(3, len(times) // 10)]
    return fastest[-1] <= AGREE * fastest[0] or fastest[-1] - fastest[0] <= TICK_US


def _single(
    calls: Mapping[str, Callable[[], object]], rounds: int, between: Callable[[], object] | None = None
) -> dict[str, list[float]]:
    seen: dict[str, list[float]] = {name: [] for name in calls}
    with not_collecting():
        for _ in range(rounds):
            for name, call in calls.items():
                if between is not None:
                    between()
                seen[name].append(_elapsed_ns(call, 1) / 1e3)
    return seen


@contextmanager
def not_collecting() -> Iterator[None]:
    """Hold garbage collection back: it falls into timings, and takes a tenth of a conversion to .tflite."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _repeats(call: Callable[[], object], min_seconds: float) -> int:
    """Double the number of calls until a turn is long enough; this warms caches up, too."""
    count = 1
    while _elapsed_ns(call, count) < min_seconds * 1e9:
        count *= 2
    return count


def _elapsed_ns(call: Callable[[], object], count: int) -> int:
    start = time.perf_counter_ns()
    for _ in range(count):
        call()
    return time.perf_counter_ns() - start


def fingerprint() -> dict[str, Any]:
    """Describe the machine and the libraries behind a measurement; no host name, user or path is in it.

    Returns:
        JSON-ready ``cpu``, ``architecture``, ``cores`` (that this process may use), ``flags``, ``system``,
        ``python`` and ``versions``.
    """
    about = _cpuinfo()
    flags = set((about.get("flags") or about.get("Features") or "").split())
    model = about.get("model name") or platform.processor() or platform.machine()
    return {
        # Virtual machines may hide the model's name; family and model number still tell the generation.
        "cpu": f"{model} (family {about['cpu family']}, model {about['model']})" if "cpu family" in about else model,
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "flags": sorted(flags & FLAGS),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {name: version for name in LIBRARIES if (version := _version(name))},
    }


def _cpuinfo() -> dict[str, str]:
    """Read the first processor's entry; empty where the system has none."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
