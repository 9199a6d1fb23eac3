"""What a window of a stream takes on this host: the gated bundle against the ungated program, in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gatesearch._lib.timing import not_collecting
from gatesearch.compile.tflite import channel_last
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.program import Program
from gatesearch.runtime.stream_runner import StreamRunner

REPEATS = 20  # of a program by itself, in a row: what other programs left in the caches does not count then

Workload = tuple[Callable[[Any], object], Sequence[Any]]
"""A call and the windows that it runs, one by one."""


@dataclass(frozen=True, slots=True)
class StreamTiming:
    """Microseconds a window, one by one, host loop included, front end excluded.

    Args:
        gated_us, ungated_us: mean over the windows of each window's least time.
        windows: the windows of the stream.
        invoke_us: the ungated program without copies in and out.
        always_us: what runs for every window, on its own: the first gate's kernels, or its program.
        later_us: the program of each later stage, without copies in and out.
        reach: share of the windows that reach each later stage.
        kernels: whether kernels ran the first stage.
    """

    gated_us: float
    ungated_us: float
    windows: int
    invoke_us: float
    always_us: float
    later_us: tuple[float, ...]
    reach: tuple[float, ...]
    kernels: bool

    @property
    def ratio(self) -> float:
        """How many times faster the gated bundle is."""
        return self.ungated_us / self.gated_us

    @property
    def gain(self) -> float:
        """The same against the ungated program alone: copies and host loop count on the gated side only."""
        return self.invoke_us / self.gated_us

    @property
    def bound(self) -> float:
        """1 / (share of what always runs + reach times the share of the rest): what no host loop can make faster."""
        later_us = sum(us * share for us, share in zip(self.later_us, self.reach, strict=True))
        return self.invoke_us / (self.always_us + later_us)


def draw_windows(
    features: torch.Tensor,
    kinds: torch.Tensor,
    kind_names: Sequence[str],
    shares: Mapping[str, float],
    windows: int,
    seed: int,
) -> torch.Tensor:
    """Draw windows as a device hears them, each kind by its share. Returns features [windows, *shape].

    Args:
        features: the features of a split, [n, *shape], drawn from again and again.
        kinds: of its samples, [n], indices into ``kind_names``.
        kind_names: names of the kinds.
        shares: the shares of the kinds in the stream, adding up to 1; a kind without a name there does not occur.
        windows: how many.
        seed: the seed of the draw.
    """
    generator = np.random.default_rng(seed)
    weights = np.array([shares.get(name, 0.0) for name in kind_names])
    drawn = generator.choice(len(kind_names), windows, p=weights / weights.sum())
    pools = [np.flatnonzero((kinds == i).numpy()) for i in range(len(kind_names))]
    return features[[int(generator.choice(pools[kind])) for kind in drawn]]


def time_stream(gated: Bundle, ungated: bytes, features: torch.Tensor, rounds: int = 15) -> StreamTiming:
    """Run the stream through both in turn, one thread, window by window.

    Args:
        gated: loaded with engine ``litert`` for every core; kernels run its first stage where they can.
        ungated: the int8 .tflite of the ungated backbone.
        features: [windows, *shape].
        rounds: repeats of the whole stream.
    """
    whole, runner = Program(ungated), StreamRunner(gated)
    arrays = channel_last(features.numpy())
    gated_inputs = np.stack([gated.quantise(window) for window in features.numpy()])
    ungated_inputs = [whole.inputs[0].quantise(arrays[i : i + 1]) for i in range(len(arrays))]
    exits = np.array([0 if answer is None else answer.exit for answer in map(runner, gated_inputs)])

    def run_first_stage() -> None:
        for window in gated_inputs:
            gated.programs[0](window)

    always = run_first_stage if runner.unsupported else runner.bind(gated_inputs)
    later = range(1, len(gated.programs))
    workloads: list[Workload] = [
        (runner, list(gated_inputs)),
        (whole, ungated_inputs),
        (_call, [always]),
    ]
    workloads += [(_repeat, [program.invoke]) for program in (whole, *gated.programs[1:])]
    gated_us, ungated_us, always_us, *invoke_us = _least_times(workloads, rounds)
    return StreamTiming(
        gated_us=gated_us,
        ungated_us=ungated_us,
        windows=len(features),
        invoke_us=invoke_us[0] / REPEATS,
        always_us=always_us / len(features),
        later_us=tuple(us / REPEATS for us in invoke_us[1:]),
        reach=tuple(float((exits >= k).mean()) for k in later),
        kernels=runner.unsupported is None,
    )


def _call(function: Callable[[], object]) -> None:
    function()


def _repeat(function: Callable[[], object]) -> None:
    for _ in range(REPEATS):
        function()


def _least_times(workloads: Sequence[Workload], rounds: int) -> list[float]:
    """Run each call on all its windows, in turn; return each one's mean over windows of the least time of a window, us.

    What else the machine does hits some windows of every round, but hardly one window in all rounds.
    """
    least = [np.full(len(windows), np.inf) for _, windows in workloads]
    with not_collecting():
        for _ in range(rounds):
            for best, (call, windows) in zip(least, workloads, strict=True):
                clock = [time.perf_counter_ns()]
                for window in windows:
                    call(window)
                    clock.append(time.perf_counter_ns())
                np.minimum(best, np.diff(clock), out=best)
    return [float(best.mean()) / 1e3 for best in least]
