"""Compares a bundle's programs by hops with its programs for whole windows, at each hop of a stream.

A hop is the time from one decision to the next. A program by hops computes only the new frames of a window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from gatesearch.compile.tflite import channel_last
from gatesearch.export.hop_checks import equals_last_frames
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.cascade import Array, requantise
from gatesearch.runtime.hop_chain import HopChain

MAX_HOPS = 200
OPEN_SHARE = 0.8  # share of hops at which the check opens a gate; a gate that decides by itself may never close


@dataclass(frozen=True, slots=True)
class HopParity:
    """Agreement of the programs by hops with the programs for whole windows.

    Args:
        hops: number of hops that were compared.
        openings: number of times that a stage caught up: its gate opened, and the stage computed its whole window.
        differences: number of outputs that differ.
    """

    hops: int
    openings: int
    differences: int

    def describe(self) -> str:
        """Return the line that says how far the two kinds of programs agree.

        >>> HopParity(hops=200, openings=31, differences=0).describe()
        'verify: 200 hops with 31 catch-ups: programs by hops equal those of whole windows'
        """
        head = f"verify: {self.hops} hops with {self.openings} catch-ups: programs by hops"
        if not self.differences:
            return f"{head} equal those of whole windows"
        return f"{head} differ from those of whole windows in {self.differences} outputs"


def verify_hops(bundle: Bundle, windows: Array, on_hop: Callable[[], None] | None = None) -> HopParity:
    """Run a stretch of stream by hops and by whole windows, with gates that open and close at random.

    Args:
        bundle: a bundle with programs by hops.
        windows: the features of the window at each hop, [hops, *shape]; the first :data:`MAX_HOPS` are used.
        on_hop: a function that is called after each hop.
    """
    chain, random = HopChain(bundle), np.random.default_rng(0)
    first, entry = bundle.programs[0].inputs[0], bundle.manifest["hops"]
    axis = bundle.manifest["stages"][0]["hops"]["axis"]
    windows = windows[:MAX_HOPS]
    differences = 0
    for hop, features in enumerate(windows):
        window = first.quantise(channel_last(features[None]))
        fresh = np.moveaxis(np.moveaxis(window, axis, 0)[-entry["hop"] :], 0, axis)
        chain.take(np.ascontiguousarray(fresh) if hop else window)
        runs = _count_open(random, len(bundle.programs)) if hop else len(bundle.programs)
        for k, expected in enumerate(_window_outputs(bundle, window, runs)):
            pairs = zip(chain.run(k), expected, strict=True)
            differences += sum(not equals_last_frames(output, whole) for output, whole in pairs)
        chain.close(runs)
        if on_hop is not None:
            on_hop()
    return HopParity(hops=len(windows), openings=sum(chain.catch_ups), differences=differences)


def _count_open(random: np.random.Generator, stages: int) -> int:
    """Return a random number of stages that run at a hop; the first stage always runs."""
    passes = random.random(stages - 1) < OPEN_SHARE
    return 1 + int(np.argmin([*passes, False]))


def _window_outputs(bundle: Bundle, window: Array, stages: int) -> Iterator[tuple[Array, ...]]:
    for k in range(stages):
        program = bundle.programs[k]
        outputs = program(np.ascontiguousarray(window))
        yield outputs
        if k + 1 < stages:
            window = requantise(outputs[0], program.outputs[0], bundle.programs[k + 1].inputs[0])
