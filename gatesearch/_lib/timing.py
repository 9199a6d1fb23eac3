"""Times short calls in turn on a machine that other processes share, and describes that machine."""

from __future__ import annotations

import gc
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from gatesearch._lib.cores import available_cores

# CPU flags on which the speed of int8 and float kernels depends.
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
    "openvino",
    "numpy",
)


@dataclass(frozen=True, slots=True)
class Timing:
    """The time of one call in microseconds: the minimum and the median over rounds, and the number of rounds.

    Other load on the machine only adds time, so the minimum is the better estimate. The median shows how busy the
    machine was.
    """

    minimum_us: float
    median_us: float
    rounds: int


def interleaved(
    calls: Mapping[str, Callable[[], object]], rounds: int = 15, min_seconds: float = 2e-4, samples: int = 1
) -> dict[str, Timing]:
    """Time several calls in turn, A B C A B C ..., so that drift in the machine's speed affects all of them.

    Args:
        calls: functions without arguments, by name.
        rounds: number of turns of each call.
        min_seconds: least duration of a turn in seconds. A turn repeats its call for this long, so that the clock's own
            cost is small.
        samples: number of timings in a turn. With more than one, a turn first runs its call untimed, because other
            calls have filled the caches. Other processes may take the processor away for milliseconds; with several
            timings, some are not affected.

    Returns:
        A timing for every name. Compare only times from one call of this function, because the machine's speed drifts.

    Raises:
        ValueError: ``rounds`` is below 1.

    >>> sorted(interleaved({"a": lambda: sum(range(100)), "b": lambda: None}, rounds=2))
    ['a', 'b']
    """
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, found {rounds}")
    repeats = {name: _repeats(call, min_seconds) for name, call in calls.items()}
    times_us: dict[str, list[float]] = {name: [] for name in calls}
    with not_collecting():
        for _ in range(rounds):
            for name, call in calls.items():
                if samples > 1:
                    elapsed_ns(call, repeats[name])
                times_us[name] += [elapsed_ns(call, repeats[name]) / repeats[name] / 1e3 for _ in range(samples)]
    return {name: Timing(min(times), statistics.median(times), rounds) for name, times in times_us.items()}


@contextmanager
def not_collecting() -> Iterator[None]:
    """Switch garbage collection off within the context.

    Garbage collection disturbs timings. It also takes a tenth of the time of a conversion to .tflite.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _repeats(call: Callable[[], object], min_seconds: float) -> int:
    """Return the number of calls that make a turn long enough; finding it also warms up the caches."""
    count = 1
    while elapsed_ns(call, count) < min_seconds * 1e9:
        count *= 2
    return count


def elapsed_ns(call: Callable[[], object], count: int) -> int:
    """Return the time of ``count`` calls in nanoseconds."""
    start = time.perf_counter_ns()
    for _ in range(count):
        call()
    return time.perf_counter_ns() - start


def fingerprint() -> dict[str, Any]:
    """Return a description of the machine and the libraries of a measurement, without host name, user or paths.

    Returns:
        JSON-ready values: ``cpu``, ``architecture``, ``cores`` (number of cores that this process may use), ``flags``,
        ``system``, ``python`` and ``versions``.
    """
    about = _cpuinfo()
    flags = set((about.get("flags") or about.get("Features") or "").split())
    model = about.get("model name") or platform.processor() or platform.machine()
    return {
        # Virtual machines may hide the processor's name; family and model number still tell its generation.
        "cpu": f"{model} (family {about['cpu family']}, model {about['model']})" if "cpu family" in about else model,
        "architecture": platform.machine(),
        "cores": available_cores(),
        "flags": sorted(flags & FLAGS),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {name: version for name in LIBRARIES if (version := _version(name))},
    }


def _cpuinfo() -> dict[str, str]:
    """Return the first processor's entry in /proc/cpuinfo; empty if there is no such file."""
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
