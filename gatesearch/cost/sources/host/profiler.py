"""What is timed on this host, once for all cores that it stands in for: operators of programs, and kernels.

A program's time is that of an empty one and, for each of its operators, what that takes by itself beyond an empty one.
Equal operators are timed once, so that a backbone needs some dozens of timings.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np

from gatesearch.cost import interpolant
from gatesearch.cost.kernel_costs import Curve, Key, Recorded, key_of
from gatesearch.cost.sources.host import operators, steady_timing
from gatesearch.errors import UserError
from gatesearch.gates import KernelCall
from gatesearch.runtime.program import Program

SECONDS = 40.0  # for all timings; those that are noisy are taken again until then
LEAST = 4.0  # seconds that they are spread over
MOST = 92  # programs and kernels timed for a table; the host's loop comes on top
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
        tiles: output channels that are computed together, by what was probed.
    """

    programs: Mapping[Hashable, float]
    kernels: Recorded
    empty_us: float
    timings: int
    noisy: int
    seconds: float
    tiles: Mapping[Hashable, int] = field(default_factory=dict)


def read(
    programs: Mapping[Name, bytes],
    empty: bytes,
    runs: Sequence[Run] = (),
    seconds: float = SECONDS,
    network: Callable[[Name], object] = lambda name: "network",
    around: int = 0,
    probes: Mapping[tuple[Hashable, int], bytes] | None = None,
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
        around: bytes that the network around a kernel reads from one of its runs to the next; so many are read before
            each.
        probes: by a name and output channels (:data:`PROBED`), convolutions that differ in these alone.

    Raises:
        UserError: more than :data:`MOST` things would have to be timed.
    """
    sums, unique = operators.pieces(programs)
    points = _points(runs)
    timed = {(key, point): call for key, grid in points.items() for point, call in grid.calls.items()}
    most = MOST - 1 - len(probes or {})  # the empty program, and what tells how channels are computed together
    least = len(unique) - len(operators.stand_ins(unique, 0))
    grids = {key: interpolant.Grid(grid.names, tuple(grid.calls)) for key, grid in points.items()}
    worked_out = interpolant.worked_out(grids, most - least)
    timed = {name: call for name, call in timed.items() if name not in worked_out}
    spared = operators.stand_ins(unique, most - len(timed))
    groups: dict[object, dict[object, steady_timing.Call]] = {}
    known = set(spared)
    for name, keys in sums.items():
        for key in keys:
            if key not in known:
                known.add(key)
                groups.setdefault(key if unique[key].name == "whole" else network(name), {})[key] = Program(
                    unique[key].model
                ).invoke
    # In turn with operators, whose call it takes out of them again.
    max(groups.values(), key=len, default=groups.setdefault(EMPTY, {}))[EMPTY] = Program(empty).invoke
    groups |= {name: {name: call} for name, call in timed.items()}
    groups |= {probe: {probe: Program(model).invoke} for probe, model in (probes or {}).items()}
    count = sum(map(len, groups.values()))
    if count > MOST:
        raise UserError(f"measure: {count} timings for one table, at most {MOST}: offer fewer gates or sites")
    names = {key: str(index) for index, key in enumerate(key for calls in groups.values() for key in calls)}
    filler = np.ones(max(1, around // 4), np.float32)
    taken = steady_timing.spread(
        [{names[key]: call for key, call in calls.items()} for calls in groups.values()],
        seconds,
        min(LEAST, seconds / 4),
        between=filler.sum,
    )
    us = {key: taken.us[name] for key, name in names.items()}
    us |= {key: sum(weight * us[other] for weight, other in two) for key, two in spared.items()}
    us = interpolant.resolved(us, worked_out)
    empty_us = us[EMPTY]
    curves = {
        key: Curve(grid.names, tuple(grid.calls), tuple(us[key, point] for point in grid.calls))
        for key, grid in points.items()
    }
    return Clocked(
        {name: empty_us + sum(max(0.0, us[key] - empty_us) for key in keys) for name, keys in sums.items()},
        Recorded("measured", curves),
        *(empty_us, count, len(taken.noisy), taken.seconds),
        {name: _tile(*(us[name, channels] - empty_us for channels in PROBED)) for name, _ in probes or {}},
    )


PROBED = (40, 64)
TILES = (8, 16, 32)


def _tile(fewer: float, all_us: float) -> int:
    """Return how many output channels are computed together, by what fewer of them take.

    >>> [_tile(taken, 64.0) for taken in (40.5, 47.0, 66.0)]
    [8, 16, 32]
    """
    few, many = PROBED
    return min(TILES, key=lambda tile: abs(fewer / all_us - math.ceil(few / tile) / math.ceil(many / tile)))


EMPTY = "empty"


class _Grid(NamedTuple):
    names: tuple[str, ...]
    calls: Mapping[tuple[float, ...], Callable[[], object]]


def _points(runs: Sequence[Run]) -> dict[Key, _Grid]:
    if not runs:
        return {}
    from gatesearch.kernels import layer_kernel, native

    library = native.load()
    if library is None:
        return {}
    grids: dict[Key, _Grid] = {}
    widest = {key_of(run.call): run for run in sorted(runs, key=lambda run: run.reads_blocks)}
    for key, run in widest.items():
        kernel = layer_kernel(run.call.kernel)
        axes = kernel.axes(run.call, run.reads_blocks)
        calls = {}
        for values in itertools.product(*axes.values()):
            call = kernel.rounded(run.call._replace(left=tuple(zip(axes, values, strict=True))))
            calls[tuple(share for _, share in call.left)] = _all(kernel.calls(call, library))
        grids[key] = _Grid(tuple(axes), calls)
    return grids


def _all(calls: Sequence[Callable[[], object]]) -> Callable[[], object]:
    def run() -> None:
        for call in calls:
            call()

    return run
