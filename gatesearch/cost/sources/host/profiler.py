"""What is timed on this host, once for all cores that it stands in for: operators of programs, and kernels.

A program's time is that of an empty one and, for each of its operators, what that takes by itself beyond an empty one.
Equal operators are timed once, so that a backbone needs some dozens of timings. A budget of seconds decides how many:
what it does not pay for is interpolated between timings of the same family (:func:`operators.stand_ins`) or derived
from other points of a kernel (:mod:`gatesearch.cost.interpolant`), and the share of that in all time is part of the
result.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from gatesearch.cost import interpolant
from gatesearch.cost.kernel_costs import Curve, Key, Recorded
from gatesearch.cost.sources.host import operators, steady_timing
from gatesearch.cost.sources.host.kernel_points import Run, TimedGrid, timed_grids
from gatesearch.cost.sources.host.steady_timing import Call
from gatesearch.cost.sources.host.tiles import PROBED_CHANNELS, tile_of
from gatesearch.runtime.program import Program

TIMING_SECONDS = 40.0  # for all timings of a table; disturbed ones are repeated until then
SPREAD_SECONDS = 4.0  # over which passes are spread at least, so that one slow stretch does not meet all of them
TABLE_TIMINGS = 92  # so many settle in that time on a machine with some other load
EMPTY_PROGRAM = "empty"
Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class HostReadings:
    """Microseconds measured on this host.

    Args:
        programs: by the name of the program; the time of an empty one is included in each.
        kernels: of gated layers.
        empty_us: of an empty program.
        timings: number of programs and kernels timed.
        noisy: number of timings still disturbed when time was up.
        seconds: duration of the timings.
        tiles: output channels that are computed together, by what was probed.
        derived: share of the summed microseconds of all distinct operators and kernel points that was not timed.
    """

    programs: Mapping[Hashable, float]
    kernels: Recorded
    empty_us: float
    timings: int
    noisy: int
    seconds: float
    tiles: Mapping[Hashable, int] = field(default_factory=dict)
    derived: float = 0.0


def timings_within(seconds: float) -> int:
    """Return how many timings a budget of seconds pays for.

    >>> timings_within(40.0)
    92
    """
    return max(1, round(TABLE_TIMINGS * seconds / TIMING_SECONDS))


def read(
    programs: Mapping[Name, bytes],
    empty: bytes,
    runs: Sequence[Run] = (),
    seconds: float = TIMING_SECONDS,
    most: int = TABLE_TIMINGS,
    network: Callable[[Name], object] = lambda name: "network",
    around: int = 0,
    probes: Mapping[tuple[Hashable, int], bytes] | None = None,
) -> HostReadings:
    """Time programs and kernels, one thread, until they settle.

    Operators take turns with those of their network alone, so that they find in the caches what they would find there:
    in turns with everything else that is timed they are up to a third slower. Programs of many operators, and kernels,
    whose arrays a network touches once a window, are each timed by themselves.

    Args:
        programs: .tflite models, by name; those of one ``network`` belong together.
        empty: a model of one operator on a handful of values.
        runs: of kernels; none are timed where there is no compiler.
        seconds: for all timings; no further pass begins after that.
        most: timings to aim for. Where more is needed than can be derived from others, more is timed.
        network: maps names to what is run together.
        around: bytes that the network around a kernel reads from one of its runs to the next; so many are read before
            each.
        probes: by a name and output channels (:data:`tiles.PROBED_CHANNELS`), convolutions that differ in these alone.
    """
    probes = probes or {}
    sums, unique = operators.pieces(programs)
    grids = timed_grids(runs)
    choice = _choose(unique, grids, most - 1 - len(probes))  # the empty program is always timed, and so are probes
    groups = _operator_groups(sums, unique, choice, network)
    # The empty program takes its turn in the largest group of operators: a call is what is subtracted from them.
    largest = max(groups.values(), key=len, default=groups.setdefault(EMPTY_PROGRAM, {}))
    largest[EMPTY_PROGRAM] = Program(empty).invoke
    groups |= {point: {point: call} for point, call in choice.kernel_calls.items()}
    groups |= {probe: {probe: Program(model).invoke} for probe, model in probes.items()}
    timed = _time_groups(list(groups.values()), seconds, around)
    us = choice.complete(timed.us)
    empty_us = us[EMPTY_PROGRAM]
    return HostReadings(
        programs={name: empty_us + sum(max(0.0, us[key] - empty_us) for key in keys) for name, keys in sums.items()},
        kernels=Recorded("measured", {key: _curve(key, grid, us) for key, grid in grids.items()}),
        empty_us=empty_us,
        timings=sum(map(len, groups.values())),
        noisy=timed.noisy,
        seconds=timed.seconds,
        tiles={name: _tile(name, us) for name, _ in probes},
        derived=choice.derived_share(us),
    )


@dataclass(frozen=True)
class _Choice:
    """What is timed and what is derived.

    Args:
        operators: keys of the operators that are interpolated, each with two timed ones and their weights.
        kernels: points that are derived, each with its rule.
        kernel_calls: points that are timed, each with the function that runs it.
        everything: all operators and points.
    """

    operators: Mapping[str, Sequence[tuple[float, str]]]
    kernels: Mapping[Hashable, interpolant.Work]
    kernel_calls: Mapping[Hashable, Callable[[], object]]
    everything: Sequence[Hashable]

    def complete(self, timed: Mapping[Hashable, float]) -> dict[Hashable, float]:
        """Return microseconds of everything, derived ones included."""
        us = dict(timed)
        for key, ends in self.operators.items():
            us[key] = sum(weight * timed[end] for weight, end in ends)
        return interpolant.resolved(us, self.kernels)

    def derived_share(self, us: Mapping[Hashable, float]) -> float:
        """Return the share of all microseconds that was derived."""
        total = sum(us[name] for name in self.everything)
        return sum(us[name] for name in (*self.operators, *self.kernels)) / total if total else 0.0


def _choose(unique: Mapping[str, operators.Operator], grids: Mapping[Key, TimedGrid], most: int) -> _Choice:
    """Keep to a number of timings as far as that is possible; kernels give way first, as far as operators must stay."""
    fewest_operators = len(unique) - len(operators.stand_ins(unique, 0))
    rules = interpolant.derivable({key: grid.grid for key, grid in grids.items()}, most - fewest_operators)
    points = {(key, point): call for key, grid in grids.items() for point, call in grid.calls.items()}
    timed: dict[Hashable, Callable[[], object]] = {n: call for n, call in points.items() if n not in rules}
    return _Choice(
        operators=operators.stand_ins(unique, most - len(timed)),
        kernels=rules,
        kernel_calls=timed,
        everything=[*unique, *points],
    )


def _operator_groups(
    sums: Mapping[Name, Sequence[str]],
    unique: Mapping[str, operators.Operator],
    choice: _Choice,
    network: Callable[[Name], object],
) -> dict[object, dict[Hashable, Call]]:
    """Return the operators to time by what they take turns with: each once, in the first network that has it."""
    groups: dict[object, dict[Hashable, Call]] = {}
    placed = set(choice.operators)
    for name, keys in sums.items():
        for key in keys:
            if key in placed:
                continue
            placed.add(key)
            group = key if unique[key].name == "whole" else network(name)
            groups.setdefault(group, {})[key] = Program(unique[key].model).invoke
    return groups


@dataclass(frozen=True)
class _Timed:
    us: Mapping[Hashable, float]
    noisy: int
    seconds: float


def _time_groups(groups: Sequence[Mapping[Hashable, Call]], seconds: float, around: int) -> _Timed:
    """Time groups of calls, whatever their keys are."""
    names = {key: str(index) for index, key in enumerate(key for calls in groups for key in calls)}
    filler = np.ones(max(1, around // 4), np.float32)
    settled = steady_timing.spread(
        [{names[key]: call for key, call in calls.items()} for calls in groups],
        seconds,
        min(SPREAD_SECONDS, seconds / 4),
        between=filler.sum,
    )
    return _Timed({key: settled.us[name] for key, name in names.items()}, len(settled.noisy), settled.seconds)


def _curve(key: Key, grid: TimedGrid, us: Mapping[Hashable, float]) -> Curve:
    return Curve(grid.names, tuple(grid.calls), tuple(us[key, point] for point in grid.calls))


def _tile(probe: Hashable, us: Mapping[Hashable, float]) -> int:
    few_us, many_us = (us[probe, channels] - us[EMPTY_PROGRAM] for channels in PROBED_CHANNELS)
    return tile_of(few_us, many_us)
