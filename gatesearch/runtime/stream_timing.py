"""Times the gated bundle and the ungated program on a stream of windows, in turn, on this host."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gatesearch._lib.timing import interleaved, not_collecting
from gatesearch.compile.tflite import channel_last
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.program import Program
from gatesearch.runtime.stream_runner import StreamRunner

REPEATS = 20  # runs of one program in a row, so that cache contents of other programs have little effect

Workload = tuple[Callable[[Any], object], Sequence[Any]]
"""A function and the windows on which it is called, one by one."""


@dataclass(frozen=True, slots=True)
class StreamTiming:
    """Times in microseconds per window. They include the Python loop over the windows, but not the front end.

    Args:
        gated_us: time of the gated bundle: the shortest time of each window, averaged over the windows.
        ungated_us: time of the ungated program: the shortest time of each window, averaged over the windows.
        windows: number of windows of the stream.
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
        """How many times faster the gated bundle is than the ungated program without copies and the Python loop."""
        return self.invoke_us / self.gated_us

    @property
    def bound(self) -> float:
        """How many times faster the gated bundle would be if copies and the Python loop took no time at all."""
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
    """Return windows of a split, drawn so that each kind has its share of the stream, [windows, *shape].

    Args:
        features: the features of a split, [n, *shape]; a sample may be drawn several times.
        kinds: the kind of each sample, [n], as an index into ``kind_names``.
        kind_names: names of the kinds.
        shares: the share of each kind in the stream; a kind without a share, or without a sample, is not drawn.
        windows: number of windows to draw.
        seed: the seed of the draw.

    >>> kinds = torch.tensor([0, 0, 1])
    >>> drawn = draw_windows(kinds, kinds, ["positive", "quiet", "music"], {"quiet": 0.5, "music": 0.5}, 4, seed=0)
    >>> drawn.tolist()
    [1, 1, 1, 1]
    """
    generator = np.random.default_rng(seed)
    pools = [np.flatnonzero((kinds == i).numpy()) for i in range(len(kind_names))]
    weights = np.array(
        [shares.get(name, 0.0) if len(pool) else 0.0 for name, pool in zip(kind_names, pools, strict=True)]
    )
    drawn = generator.choice(len(kind_names), windows, p=weights / weights.sum())
    return features[[int(generator.choice(pools[kind])) for kind in drawn]]


def pick_fastest(models: Sequence[bytes], rounds: int = 15) -> bytes:
    """Return the .tflite that LiteRT runs fastest on this host; it times all of them in turn, on one thread.

    >>> pick_fastest([b"the only one"])
    b'the only one'
    """
    if len(models) == 1:
        return models[0]
    timings = interleaved({str(i): Program(model).invoke for i, model in enumerate(models)}, rounds, samples=3)
    return models[min(range(len(models)), key=lambda i: timings[str(i)].minimum_us)]


def time_stream(gated: Bundle, ungated: bytes, features: torch.Tensor, rounds: int = 15) -> StreamTiming:
    """Time the gated bundle and the ungated program on a stream, window by window, with one thread.

    Args:
        gated: a bundle loaded with engine ``litert`` for every core; kernels run its first stage if they support it.
        ungated: the int8 .tflite of the ungated backbone.
        features: features of the windows, [windows, *shape].
        rounds: number of passes over the whole stream.
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
    """Return, for each workload, the shortest time of each window, averaged over its windows, in microseconds.

    Other load on the machine slows some windows in every round, but hardly ever the same window in all rounds.
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
