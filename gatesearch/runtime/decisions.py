"""Computes the decision of each hop of a stream with the front end, the stages and the gates of a bundle."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from gatesearch.compile.tflite import channel_first, channel_last
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.cascade import Array
from gatesearch.runtime.chain import ChainSettings, SignalGate, read_chain
from gatesearch.runtime.hop_chain import HopChain
from gatesearch.runtime.stream_gate import StreamGate


class StreamFrontend(Protocol):
    """A front end on one stream."""

    def begin(self, window: Array) -> Array:
        """Return the features [1, *shape] of a whole window, int16 [1, window], and keep what the next hop needs."""

    def step(self, samples: Array) -> Array:
        """Add a hop's samples, int16 [1, hop], and return the features of the new frames or of the whole window."""


class WholeWindows:
    """A front end that computes each window anew.

    Args:
        features: function that maps samples, int16 [1, window], to features [1, *shape].
    """

    def __init__(self, features: Callable[[Array], Array]) -> None:
        self._features = features
        self._window: Array | None = None

    def begin(self, window: Array) -> Array:
        """See :class:`StreamFrontend`."""
        self._window = window
        return self._features(window)

    def step(self, samples: Array) -> Array:
        """See :class:`StreamFrontend`."""
        assert self._window is not None
        return self.begin(np.concatenate([self._window, samples], 1)[:, -self._window.shape[1] :])


@dataclass
class Usage:
    """The numbers of runs and the CPU time that a stream has used so far.

    Args:
        reached: number of hops that reached each stage, [stages].
        cpu_s: seconds of CPU time by part.
    """

    reached: Array
    cpu_s: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def measure(self, part: str) -> Any:
        """Add the CPU time of the ``with`` block to a part."""
        started = time.process_time()
        yield
        self.cpu_s[part] = self.cpu_s.get(part, 0.0) + time.process_time() - started


class WindowDecisions:
    """Decides each hop from its whole window, without a memory in the gates, as bundles of older versions do.

    Args:
        bundle: a bundle, or an object with ``programs`` that maps features to an answer.
        frontend: the front end.
    """

    def __init__(self, bundle: Bundle, frontend: StreamFrontend) -> None:
        self._bundle, self._frontend = bundle, frontend
        self.usage = Usage(np.zeros(len(bundle.programs), np.int64), {"front end": 0.0, "stages": 0.0})

    def decide(self, window: Array) -> Array | None:
        """Return the posteriors [classes] of a window, int16 [window]; None if a gate without an exit stops it."""
        with self.usage.measure("front end"):
            features = self._frontend.begin(window[None])
        with self.usage.measure("stages"):
            answer = self._bundle(features)
        self.usage.reached[: answer.exit + 1] += 1
        return None if answer.logits is None else softmax(answer.logits)


class ChainDecisions:
    """Decides hop by hop: a part that runs computes only what is new; gates average their scores and hold open.

    Args:
        bundle: a bundle of a run with goal detection.
        frontend: the front end.
        hop: samples from decision to decision.
        score_signal: function that takes the newest samples, int16 [n], and returns the statistic that the gate on
            the signal compares with its threshold; None if there is no such gate.
    """

    def __init__(
        self, bundle: Bundle, frontend: StreamFrontend, hop: int, score_signal: Callable[[Array], float] | None = None
    ) -> None:
        settings: ChainSettings = read_chain(bundle.manifest, str(bundle.folder))
        self._bundle, self._frontend, self._hop, self._score_signal = bundle, frontend, hop, score_signal
        self._chain = HopChain(bundle)
        self._signal = None if settings.signal is None else StreamGate(settings.signal.settings)
        self._gates = [StreamGate(gate) for gate in settings.gates]
        self._logits = [stage["gate"]["logit"] for stage in bundle.manifest["stages"][:-1]]
        self._is_open = False  # whether the front end ran at the hop before
        self._begun = False
        parts = ["front end", *(f"stage {k}" for k in range(len(bundle.programs)))]
        self.usage = Usage(np.zeros(len(bundle.programs), np.int64), dict.fromkeys(parts, 0.0))

    def decide(self, window: Array) -> Array | None:
        """Return the posteriors [classes] of a window, int16 [window]; None if a gate without an exit stops it."""
        if not self._passes_signal(window):
            self._is_open = False
            self._close(0)
            return None
        with self.usage.measure("front end"):
            features = self._read(window)
            self._chain.take(self._bundle.programs[0].inputs[0].quantise(channel_last(features)))
        for k in range(len(self._bundle.programs)):
            with self.usage.measure(f"stage {k}"):
                outputs = self._chain.run(k)
                self.usage.reached[k] += 1
                if k == len(self._gates):
                    logits = self._bundle.programs[k].outputs[0].dequantise(outputs[0])
                    return softmax(channel_first(logits)[0] + np.float32(self._bundle.logit_offset))
                if not self._gates[k].push(self._score(k, outputs[1])):
                    answer = self._chain.leave(k)
                    self._close(k + 1)
                    return None if answer is None else softmax(channel_first(answer)[0])
        raise AssertionError("the last stage has no gate")

    def _passes_signal(self, window: Array) -> bool:
        if self._signal is None or self._score_signal is None:
            return True
        with self.usage.measure("gate on the signal"):
            score = self._score_signal(window[-self._hop :] if self._begun else window)
            self._begun = True
            return self._signal.push(score)

    def _read(self, window: Array) -> Array:
        steps = self._is_open and self._chain.by_hops
        self._is_open = True
        return self._frontend.step(window[None, -self._hop :]) if steps else self._frontend.begin(window[None])

    def _score(self, k: int, exported: Array) -> float:
        """Return the model's logit for the logit e that a program exports: center + (e - 3) half_width / 3."""
        value = float(self._bundle.programs[k].outputs[1].dequantise(exported).flat[0])
        window = self._logits[k]
        return float(window["center"] + (value - 3) * window["half_width"] / 3)

    def _close(self, stage: int) -> None:
        self._chain.close(stage)
        for gate in self._gates[stage:]:
            gate.push(None)


def signal_scores(signal: SignalGate | None, rate: int, window: int, hop: int) -> Callable[[Array], float] | None:
    """Return a function that computes the statistic of the gate on the signal hop by hop; None without such a gate."""
    if signal is None:
        return None
    from gatesearch.gates.level import SignalFormat, SignalStream, signal_frame  # imports PyTorch

    frame = signal_frame(rate, window, hop)
    stream = SignalStream(SignalFormat(statistic=signal.statistic, window=window, hop=hop, frame=frame))

    def score(samples: Array) -> float:
        statistic = stream.push(samples)
        assert statistic is not None  # the first samples are a whole window
        return float(statistic)

    return score


def softmax(logits: Array) -> Array:
    """Return posteriors [classes] of logits."""
    exponents = np.exp(logits - logits.max())
    return np.asarray(exponents / exponents.sum())
