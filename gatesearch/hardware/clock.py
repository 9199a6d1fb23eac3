"""What is timed on this host, once for all cores that it stands in for: operators of programs, and kernels.

A program's time is that of an empty one and, for each of its operators, what that takes by itself beyond an empty one.
Equal operators are timed once, so that a backbone needs some dozens of timings.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from gatesearch.gates import KernelCall
from gatesearch.hardware import operators, timing
from gatesearch.hardware.kernel_costs import Curve, Key, Recorded, key_of
from gatesearch.hardware.tflite import Program

SECONDS = 20.0  # for all timings; those that are noisy are taken again until then
Name = TypeVar("Name", bound=Hashable)


class Run(NamedTuple):
    """A kernel to be read, and whether its input may come from a layer that leaves blocks out."""

    call: KernelCall
    reads_blocks: bool


@dataclass(frozen=True)
class Clocked:
    """Microseconds measured on this host.

    Args:
        programs: by the name that they were given; an empty one included in each.
        kernels: of gated layers.
        empty_us: of an empty program.
        timings: how many things were timed.
        noisy: how many of them were still disturbed when time was up.
        seconds: that the timings took.
    """

    programs: Mapping[Hashable, float]
    kernels: Recorded
    empty_us: float
    timings: int
    noisy: int
    seconds: float


def read(
    programs: Mapping[Name, bytes],
    empty: bytes,
    runs: Sequence[Run] = (),
    seconds: float = SECONDS,
    network: Callable[[Name], object] = lambda name: "network",
) -> Clocked:
    """Time programs and kernels, one thread, until they settle.

    Operators take turns with those of their network alone, so that they find in the caches what they would find there:
    turns with all else that is timed made them up to a third slower. Programs of many operators and kernels, whose
    arrays a network meets once a window, are each timed by itself.

    Args:
        programs: .tflite models, by name; those of one ``network`` belong together.
        empty: a model of one operator on a handful of values.
        runs: of kernels; none are timed where there is no compiler.
        seconds: for all of it; after that no further rounds begin.
        network: names to what is run together.
    """
    sums, unique = operators.pieces(programs)
    groups: dict[object, dict[object, Callable[[], object]]] = {EMPTY: {EMPTY: Program(empty).invoke}}
    known: set[str] = set()
    for name, keys in sums.items():
        for key in keys:
            if key not in known:
                known.add(key)
                whole = unique[key] is programs[name]
                groups.setdefault(key if whole else network(name), {})[key] = Program(unique[key]).invoke
    points = _points(runs)
    for kernel, grid in points.items():
        groups |= {(kernel, point): {(kernel, point): call} for point, call in grid.calls.items()}
    us, noisy, started = dict[object, float](), 0, time.monotonic()
    count = sum(map(len, groups.values()))
    for calls in groups.values():
        named = {str(index): key for index, key in enumerate(calls)}
        taken = timing.settled({name: calls[key] for name, key in named.items()}, seconds * len(calls) / count)
        us |= {key: taken.minimum_us[name] for name, key in named.items()}
        noisy += len(taken.noisy)
    empty_us = us[EMPTY]
    curves = {
        key: Curve(grid.names, tuple(grid.calls), tuple(us[key, point] for point in grid.calls))
        for key, grid in points.items()
    }
    return Clocked(
        {name: empty_us + sum(max(0.0, us[key] - empty_us) for key in keys) for name, keys in sums.items()},
        Recorded("measured", curves),
        *(empty_us, count, noisy, time.monotonic() - started),
    )


EMPTY = "empty"


class _Grid(NamedTuple):
    names: tuple[str, ...]
    calls: Mapping[tuple[float, ...], Callable[[], object]]


def _points(runs: Sequence[Run]) -> dict[Key, _Grid]:
    if not runs:
        return {}
    from gatesearch.hardware.kernels import native, samples

    library = native.load()
    if library is None:
        return {}
    grids: dict[Key, _Grid] = {}
    widest = {key_of(run.call): run for run in sorted(runs, key=lambda run: run.reads_blocks)}
    for key, run in widest.items():
        axes = samples.axes(run.call, run.reads_blocks)
        calls = {}
        for values in itertools.product(*axes.values()):
            wanted = samples.exact(run.call._replace(left=tuple(zip(axes, values, strict=True))))
            calls[tuple(share for _, share in wanted.left)] = _all(samples.calls(wanted, library))
        grids[key] = _Grid(tuple(axes), calls)
    return grids


def _all(calls: Sequence[Callable[[], object]]) -> Callable[[], object]:
    def run() -> None:
        for call in calls:
            call()

    return run
