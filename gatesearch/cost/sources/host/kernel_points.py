"""The kernel calls that are timed on this host: for each kernel, a grid of shares of remaining work."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from gatesearch.cost.kernel_costs import Key, Point, key_of
from gatesearch.cost.sources.host.steady_timing import Call, NetCall
from gatesearch.cost.timing_rules import Grid
from gatesearch.gates import KernelCall
from gatesearch.kernels import layer_kernel, native
from gatesearch.kernels.gated_u8 import name_in_bytes, sample_in_bytes
from gatesearch.kernels.library import Library
from gatesearch.runtime.byte_operators import ByteOperators


class Run(NamedTuple):
    """A kernel to time.

    Args:
        call: the call; its shares do not matter.
        reads_blocks: whether its input may come from a layer that skips blocks of channels.
        in_bytes: whether to time the layer between bytes, as one of many operators of a stage.
    """

    call: KernelCall
    reads_blocks: bool
    in_bytes: bool = False

    @property
    def key(self) -> Key:
        """The key of the curve of times to which the kernel belongs."""
        name = name_in_bytes(self.call.kernel) if self.in_bytes else self.call.kernel
        return key_of(self.call._replace(kernel=name))


class TimedGrid(NamedTuple):
    """A grid of shares, and for each point a function that runs the kernel there."""

    names: tuple[str, ...]
    calls: Mapping[Point, Call]

    @property
    def grid(self) -> Grid:
        """The grid without the functions."""
        return Grid(self.names, tuple(self.calls))


def timed_grids(runs: Sequence[Run]) -> dict[Key, TimedGrid]:
    """Return the grid of every kernel, shape and variant; empty if the kernels cannot be compiled on this host."""
    if not runs:
        return {}
    library = native.load()
    if library is None:
        return {}
    # Among equal calls, one whose input may lack blocks has more points. It is sorted last, so it replaces the others.
    widest = {run.key: run for run in sorted(runs, key=lambda run: run.reads_blocks)}
    grids: dict[Key, TimedGrid] = {}
    for key, run in widest.items():
        kernel = layer_kernel(run.call.kernel)
        axes = kernel.axes(run.call, run.reads_blocks)
        calls = {}
        for values in itertools.product(*axes.values()):
            call = kernel.round_shares(run.call._replace(remaining=tuple(zip(axes, values, strict=True))))
            point = tuple(share for _, share in call.remaining)
            calls[point] = _in_bytes(call, library) if run.in_bytes else _one_after_another(kernel.calls(call, library))
        grids[key] = TimedGrid(tuple(axes), calls)
    return grids


def _in_bytes(call: KernelCall, library: Library) -> NetCall:
    """Return a call of a layer between bytes whose time does not contain the call from Python.

    In a stage, one call from Python runs all layers. So the time of an empty call is subtracted.
    """
    layer, x, active = sample_in_bytes(call, library)
    stage = ByteOperators(library)
    stage.add_layer(layer, x, np.zeros(layer.shape, np.uint8), active)
    nothing, layers = ByteOperators(library).bind(), stage.bind()

    def run() -> int:
        start = time.perf_counter_ns()
        nothing()
        empty_ns = time.perf_counter_ns() - start
        layers()
        return 2 * empty_ns

    return NetCall(run)


def _one_after_another(calls: Sequence[Callable[[], object]]) -> Callable[[], object]:
    def run() -> None:
        for call in calls:
            call()

    return run
