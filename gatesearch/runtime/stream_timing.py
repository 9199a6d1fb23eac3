"""Times a stream of windows on this host: the gated bundle and the ungated program take turns."""

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

REPEATS = 20  # runs of one program in a row, so that the contents of caches from other programs hardly count

Workload = tuple[Callable[[Any], object], Sequence[Any]]
"""A call and the windows that it runs, one by one."""


@dataclass(frozen=True, slots=True)
class StreamTiming:
    """Microseconds per window, run one by one. The host's loop is included, the front end is not.

    Args:
        gated_us, ungated_us: mean over the windows of the shortest time of each window.
        windows: the windows of the stream.
        invoke_us: time of the ungated program without copies in and out.
        always_us: time of the part that runs for every window: the kernels of the first stage, or its program.
        later_us: time of the program of each later stage, without copies in and out.
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
        """How many times faster the gated bundle is if copies and the host's loop count on the gated side only."""
        return self.invoke_us / self.gated_us

    @property
    def bound(self) -> float:
        """The gain of a host loop that takes no time: 1 / (share of the first stage + reach x share of the rest)."""
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
    """Draw windows of a split so that each kind has its share of the stream. Returns features [windows, *shape].

    Args:
        features: the features of a split, [n, *shape]; a sample may be drawn several times.
        kinds: the kind of each sample, [n], as an index into ``kind_names``.
        kind_names: names of the kinds.
        shares: the share of each kind in the stream; they add up to 1, and a kind without a share does not occur.
        windows: how many windows to draw.
        seed: the seed of the draw.
    """
    generator = np.random.default_rng(seed)
    weights = np.array([shares.get(name, 0.0) for name in kind_names])
    drawn = generator.choice(len(kind_names), windows, p=weights / weights.sum())
    pools = [np.flatnonzero((kinds == i).numpy()) for i in range(len(kind_names))]
    return features[[int(generator.choice(pools[kind])) for kind in drawn]]


def time_stream(gated: Bundle, ungated: bytes, features: torch.Tensor, rounds: int = 15) -> StreamTiming:
    """Run the stream through both in turn, with one thread, window by window.

    Args:
        gated: a bundle loaded with engine ``litert`` for every core; kernels run its first stage if they support it.
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
    """Return for each workload the mean over its windows of the shortest time of each window, in microseconds.

    Other load on the machine slows some windows in every round, but hardly the same window in all rounds.
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
