"""Times operators and kernels on this host, once for all cores that the host stands in for.

Each operator is timed as a program of its own. The time of an operator is the time of its program minus the time of an
empty program. The time of a network is the time of an empty program plus the times of the network's operators. Equal
operators are timed once, so a backbone needs some dozens of timings. A kernel is timed at several points, each a shape
with shares of work. A budget of seconds limits the number of timings. The other times are interpolated between
operators of the same family (:func:`split_operators.interpolation_weights`) or derived from other points of a kernel
(:mod:`gatesearch.cost.timing_rules`). The result states the share of the time that was not measured.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from gatesearch.cost import timing_rules
from gatesearch.cost.kernel_costs import Curve, Key, Recorded
from gatesearch.cost.sources.host import split_operators, steady_timing
from gatesearch.cost.sources.host.kernel_points import Run, TimedGrid, timed_grids
from gatesearch.cost.sources.host.steady_timing import Call
from gatesearch.cost.sources.host.tiles import PROBED_CHANNELS, tile_of
from gatesearch.runtime.program import Program

TIMING_SECONDS = 40.0  # budget of all timings of a table; disturbed timings are repeated until it is spent
SPREAD_SECONDS = 4.0  # minimum duration of all passes, so that one slow period does not affect all of them
TABLE_TIMINGS = 92  # number of calls whose timings agree within TIMING_SECONDS on a machine with some other load
EMPTY_PROGRAM = "empty"
Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class HostReadings:
    """Microseconds measured on this host.

    Args:
        programs: time of each program by name, including that of an empty program.
        kernels: times of the kernels of gated layers.
        empty_us: time of an empty program.
        timings: number of programs and kernels timed.
        noisy: number of timings that were still disturbed by other load when the budget was spent.
        seconds: duration of the timings.
        tiles: for each probe, the number of output channels that are computed together.
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
    """Return the number of timings that a budget of seconds allows.

    >>> timings_within(40.0)
    92
    """
    return max(1, round(TABLE_TIMINGS * seconds / TIMING_SECONDS))


def measure(
    programs: Mapping[Name, bytes],
    empty: bytes,
    runs: Sequence[Run] = (),
    seconds: float = TIMING_SECONDS,
    max_timings: int = TABLE_TIMINGS,
    network: Callable[[Name], object] = lambda name: "network",
    around: int = 0,
    probes: Mapping[tuple[Hashable, int], bytes] | None = None,
) -> HostReadings:
    """Time programs and kernels on one thread, until their timings agree or the budget is spent.

    Operators take turns only with operators of their own network, so that the caches are as in that network. If all
    operators took turns, they would be up to a third slower. Programs of many operators are timed alone. Kernels are
    timed alone as well, because a network reads their arrays only once per window.

    Args:
        programs: .tflite models by name; programs of the same ``network`` run together.
        empty: a model with one operator on a few values.
        runs: kernels to time; none is timed if they cannot be compiled on this host.
        seconds: budget of all timings; no further pass begins after this time.
        max_timings: number of timings that should not be exceeded; times that cannot be derived are measured anyway.
        network: a function that maps the name of a program to its network.
        around: number of bytes that the network reads between two runs of a kernel. Each timed run of a kernel follows
            a read of as many bytes, so that it finds the caches as in the network.
        probes: programs of convolutions that differ only in their output channels (:data:`tiles.PROBED_CHANNELS`), by
            name and output channels.
    """
    probes = probes or {}
    sums, unique = split_operators.split_all(programs)
    grids = timed_grids(runs)
    choice = _choose(unique, grids, max_timings - 1 - len(probes))  # the empty program and the probes are timed as well
    groups = _operator_groups(sums, unique, choice, network)
    # The time of the empty program is subtracted from operators' times, so it takes turns with their largest group.
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
    """The choice of the operators and kernel points to time; the others are derived.

    Args:
        operators: the interpolated operators by key, each with the weights and keys of two timed operators.
        kernels: the derived kernel points, each with its derivation.
        kernel_calls: the timed kernel points, each with the function that runs it.
        everything: all operators and kernel points.
    """

    operators: Mapping[str, Sequence[tuple[float, str]]]
    kernels: Mapping[Hashable, timing_rules.Derivation]
    kernel_calls: Mapping[Hashable, steady_timing.Call]
    everything: Sequence[Hashable]

    def complete(self, timed: Mapping[Hashable, float]) -> dict[Hashable, float]:
        """Return the microseconds of all operators and points."""
        us = dict(timed)
        for key, ends in self.operators.items():
            us[key] = sum(weight * timed[end] for weight, end in ends)
        return timing_rules.resolve(us, self.kernels)

    def derived_share(self, us: Mapping[Hashable, float]) -> float:
        """Return the share of all microseconds that is derived."""
        total = sum(us[name] for name in self.everything)
        return sum(us[name] for name in (*self.operators, *self.kernels)) / total if total else 0.0


def _choose(
    unique: Mapping[str, split_operators.Operator], grids: Mapping[Key, TimedGrid], max_timings: int
) -> _Choice:
    """Choose the operators and kernel points to time, at most ``max_timings`` of them if possible.

    Kernel points are derived first, until those that remain fit beside the operators that cannot be interpolated. Then
    operators are interpolated until all timings fit.
    """
    fewest_operators = len(unique) - len(split_operators.interpolation_weights(unique, 0))
    derivations = timing_rules.choose_derivations(
        {key: grid.grid for key, grid in grids.items()}, max_timings - fewest_operators
    )
    points = {(key, point): call for key, grid in grids.items() for point, call in grid.calls.items()}
    timed: dict[Hashable, steady_timing.Call] = {n: call for n, call in points.items() if n not in derivations}
    return _Choice(
        operators=split_operators.interpolation_weights(unique, max_timings - len(timed)),
        kernels=derivations,
        kernel_calls=timed,
        everything=[*unique, *points],
    )


def _operator_groups(
    sums: Mapping[Name, Sequence[str]],
    unique: Mapping[str, split_operators.Operator],
    choice: _Choice,
    network: Callable[[Name], object],
) -> dict[object, dict[Hashable, Call]]:
    """Return the operators to time by group; each operator is in the group of the first network that contains it."""
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
    """Time groups of calls with keys of any type."""
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
