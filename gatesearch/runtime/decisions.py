"""Computes the decisions of hops of a stream with the front end, the stages and the gates of a bundle."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.cascade import Array
from gatesearch.runtime.chain import read_chain
from gatesearch.runtime.posteriors import softmax
from gatesearch.runtime.signal_decisions import SignalDecisions
from gatesearch.runtime.stage_chain import StageChain, stretches
from gatesearch.runtime.stream_frontend import BlockFrontend, StreamFrontend


@dataclass
class Usage:
    """The number of runs of each stage and the CPU time of each part on a stream so far.

    Args:
        reached: number of hops that reached each stage, [stages].
        cpu_s: seconds of CPU time by part.
    """

    reached: Array
    cpu_s: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Add the CPU time of the ``with`` block to a part."""
        started = time.process_time()
        yield
        self.cpu_s[part] = self.cpu_s.get(part, 0.0) + time.process_time() - started


class Outputs(NamedTuple):
    """The outputs of a block of hops.

    Args:
        posteriors: [hops, classes]; those of stopped hops have no meaning.
        stopped: whether a gate without an exit stopped each hop, [hops].
    """

    posteriors: Array
    stopped: Array


class WindowDecisions:
    """Decides each hop from its whole window alone; gates store nothing between hops, as in bundles of older versions.

    Args:
        bundle: a bundle, or an object with ``programs`` that maps features to an answer.
        frontend: the front end.
        classes: number of classes.
        hop: samples from decision to decision.
    """

    def __init__(self, bundle: Bundle, frontend: StreamFrontend, classes: int, hop: int) -> None:
        self._bundle, self._frontend, self._classes, self._hop = bundle, frontend, classes, hop
        self.usage = Usage(np.zeros(len(bundle.programs), np.int64), {"front end": 0.0, "stages": 0.0})
        self.unsupported: dict[int, str] = {}
        self.catch_ups = [0] * len(bundle.programs)

    def decide(self, samples: Array, count: int) -> Outputs:
        """Return the outputs of hops, from samples int16 [window + (count - 1) hop]."""
        posteriors, stopped = np.zeros((count, self._classes), np.float32), np.ones(count, bool)
        length = len(samples) - (count - 1) * self._hop
        for k in range(count):
            window = samples[k * self._hop : k * self._hop + length]
            with self.usage.measure("front end"):
                features = self._frontend.begin(window[None])
            with self.usage.measure("stages"):
                answer = self._bundle(features)
            self.usage.reached[: answer.exit + 1] += 1
            if answer.logits is not None:
                posteriors[k], stopped[k] = softmax(answer.logits[None])[0], False
        return Outputs(posteriors, stopped)


class ChainDecisions:
    """Decides blocks of hops: a part computes only new frames; gates average their scores and stay open for some hops.

    How the stream is cut into blocks does not change a decision.

    Args:
        bundle: a bundle of a run with goal detection.
        frontend: the front end.
        signal: the gate before the front end; None if there is none.
        classes: number of classes.
        hop: samples from decision to decision.

    Attributes:
        frontend: the front end.
    """

    def __init__(
        self, bundle: Bundle, frontend: BlockFrontend, signal: SignalDecisions | None, classes: int, hop: int
    ) -> None:
        self.frontend, self._signal, self._classes, self._hop = frontend, signal, classes, hop
        stages = [f"stage {k}" for k in range(len(bundle.programs))]
        on_signal = [] if signal is None else ["gate on the signal"]
        self.usage = Usage(np.zeros(0, np.int64), dict.fromkeys([*on_signal, "front end", *stages], 0.0))
        gates = read_chain(bundle.manifest, str(bundle.folder)).gates
        self.chain = StageChain(bundle, gates, self.usage.measure)
        self.usage.reached, self.unsupported = self.chain.reached, self.chain.unsupported
        self._hops = 0

    def decide(self, samples: Array, count: int) -> Outputs:
        """Return the outputs of hops, from samples int16 [window + (count - 1) hop]."""
        posteriors, stopped = np.zeros((count, self._classes), np.float32), np.ones(count, bool)
        length = len(samples) - (count - 1) * self._hop
        for first, last, is_open in stretches(self._open(samples, count), 0):
            if not is_open:
                self.chain.close(0)
                continue
            with self.usage.measure("front end"):
                part = samples[first * self._hop : (last - 1) * self._hop + length]
                windows = self.frontend.read(part, self._hops + first, last - first)
            self.chain.run(windows, self._hops, first, posteriors[:last], stopped[:last])
        self._hops += count
        return Outputs(posteriors, stopped)

    @property
    def catch_ups(self) -> list[int]:
        """Number of catch-ups of each stage so far."""
        return self.chain.catch_ups

    def _open(self, samples: Array, count: int) -> Array:
        if self._signal is None:
            return np.ones(count, bool)
        with self.usage.measure("gate on the signal"):
            return self._signal.decide(samples)
