"""The gated bundle against the ungated model on one stream of windows, in turn, on this host."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gatesearch.compile.tflite import channel_last
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.listen import Listener
from gatesearch.runtime.program import Program
from gatesearch.training import FeatureSplit

REPEATS = 20


@dataclass(frozen=True, slots=True)
class Streaming:
    """Microseconds a window, one by one, host loop included, front end excluded.

    Args:
        gated_us, ungated_us: mean over the windows of each one's least time.
        windows: of the stream.
        invoke_us: the ungated program without copies in and out.
        always_us: what runs for every window, on its own: the first gate's kernels, or its program.
        later_us: the program of each later stage, without copies in and out.
        reach: share of the windows that reach each later stage.
        kernels: whether the first stage ran by kernels.
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
        later = sum(us * share for us, share in zip(self.later_us, self.reach, strict=True))
        return self.invoke_us / (self.always_us + later)


def stream(
    split: FeatureSplit, kind_names: Sequence[str], shares: Mapping[str, float], windows: int, seed: int
) -> torch.Tensor:
    """Draw windows as a device hears them: each kind by its share. Returns features [windows, *shape].

    Args:
        split: where windows are drawn from, again and again.
        kind_names: of the split's kinds.
        shares: of the kinds in the stream, adding up to 1; a kind that is not named is not heard.
        windows: how many.
        seed: of the draw.
    """
    generator = np.random.default_rng(seed)
    weights = np.array([shares.get(name, 0.0) for name in kind_names])
    kinds = generator.choice(len(kind_names), windows, p=weights / weights.sum())
    pools = [np.flatnonzero((split.kinds == i).numpy()) for i in range(len(kind_names))]
    return split.features[[int(generator.choice(pools[kind])) for kind in kinds]]


def measure(gated: Bundle, ungated: bytes, features: torch.Tensor, rounds: int = 15) -> Streaming:
    """Run the stream through both in turn, one thread, window by window.

    Args:
        gated: loaded with engine ``litert`` for every core; kernels run its first stage where they can.
        ungated: the int8 .tflite of the ungated backbone.
        features: [windows, *shape].
        rounds: repeats of the whole stream.
    """
    whole, listener = Program(ungated), Listener(gated)
    arrays = channel_last(features.numpy())
    into_gated = np.stack([gated.quantise(window) for window in features.numpy()])
    into_whole = [whole.inputs[0].quantise(arrays[i : i + 1]) for i in range(len(arrays))]
    exits = np.array([0 if answer is None else answer.exit for answer in map(listener, into_gated)])

    def run_first() -> None:
        for window in into_gated:
            gated.programs[0](window)

    count = len(features)
    always = run_first if listener.without else listener.bind(into_gated)
    later = list(range(1, len(gated.programs)))
    invokes = [_Repeated(program.invoke) for program in (whole, *gated.programs[1:])]
    streams: list[tuple[Callable[[Any], object], Sequence[Any]]] = [
        *((listener, list(into_gated)), (whole, into_whole), (lambda call: call(), [always])),
        *((lambda call: call(), [invoke]) for invoke in invokes),
    ]
    gated_us, ungated_us, always_us, *invoke_us = _least(streams, rounds)
    return Streaming(
        gated_us=gated_us,
        ungated_us=ungated_us,
        windows=count,
        invoke_us=invoke_us[0] / REPEATS,
        always_us=always_us / count,
        later_us=tuple(us / REPEATS for us in invoke_us[1:]),
        reach=tuple(float((exits >= k).mean()) for k in later),
        kernels=listener.without is None,
    )


@dataclass(frozen=True, slots=True)
class _Repeated:
    """A call many times over, so that what others left in the caches does not count."""

    call: Callable[[], object]

    def __call__(self) -> None:
        for _ in range(REPEATS):
            self.call()


def _least(streams: Sequence[tuple[Callable[[Any], object], Sequence[Any]]], rounds: int) -> list[float]:
    """Run each call on all its windows, in turn; return each one's mean over windows of the least time of a window, us.

    What else the machine does hits some windows of every round, but hardly one window in all rounds.
    """
    least = [np.full(len(windows), np.inf) for _, windows in streams]
    collecting = gc.isenabled()
    gc.disable()
    try:
        for _ in range(rounds):
            for best, (call, windows) in zip(least, streams, strict=True):
                clock = [time.perf_counter_ns()]
                for window in windows:
                    call(window)
                    clock.append(time.perf_counter_ns())
                np.minimum(best, np.diff(clock), out=best)
    finally:
        if collecting:
            gc.enable()
    return [float(best.mean()) / 1e3 for best in least]
