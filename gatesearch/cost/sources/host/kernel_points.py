"""The kernel calls that are timed on this host: for each kernel, a grid of shares of remaining work."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from gatesearch.cost.kernel_costs import Key, Point, key_of
from gatesearch.cost.timing_rules import Grid
from gatesearch.gates import KernelCall


class Run(NamedTuple):
    """A kernel to time, and whether its input may come from a layer that skips blocks of channels."""

    call: KernelCall
    reads_blocks: bool


class TimedGrid(NamedTuple):
    """A grid of shares, and for each point a function that runs the kernel there."""

    names: tuple[str, ...]
    calls: Mapping[Point, Callable[[], object]]

    @property
    def grid(self) -> Grid:
        """The grid without the functions."""
        return Grid(self.names, tuple(self.calls))


def timed_grids(runs: Sequence[Run]) -> dict[Key, TimedGrid]:
    """Return the grid of every kernel, shape and variant; empty if the kernels cannot be compiled on this host."""
    if not runs:
        return {}
    from gatesearch.kernels import layer_kernel, native

    library = native.load()
    if library is None:
        return {}
    # Among equal calls, one whose input may lack blocks has more points. It is sorted last, so it replaces the others.
    widest = {key_of(run.call): run for run in sorted(runs, key=lambda run: run.reads_blocks)}
    grids: dict[Key, TimedGrid] = {}
    for key, run in widest.items():
        kernel = layer_kernel(run.call.kernel)
        axes = kernel.axes(run.call, run.reads_blocks)
        calls = {}
        for values in itertools.product(*axes.values()):
            call = kernel.round_shares(run.call._replace(remaining=tuple(zip(axes, values, strict=True))))
            point = tuple(share for _, share in call.remaining)
            calls[point] = _one_after_another(kernel.calls(call, library))
        grids[key] = TimedGrid(tuple(axes), calls)
    return grids


def _one_after_another(calls: Sequence[Callable[[], object]]) -> Callable[[], object]:
    def run() -> None:
        for call in calls:
            call()

    return run
