"""The decisions of the gate on the signal, which reads samples before the front end does."""

from __future__ import annotations

from gatesearch.runtime.cascade import Array
from gatesearch.runtime.chain import SignalGate
from gatesearch.runtime.stream_gate import StreamGate


class SignalDecisions:
    """Decides at which hops of a stream the front end runs; the kernel computes the statistic of each hop.

    Args:
        gate: statistic, threshold, smoothing and hold.
        rate: samples per second (Hz).
        window: length of a window in samples.
        hop: length of a hop in samples.
    """

    def __init__(self, gate: SignalGate, rate: int, window: int, hop: int) -> None:
        from gatesearch.gates.level import SignalFormat  # imports PyTorch
        from gatesearch.kernels.level import LevelStream

        self._stream = LevelStream(SignalFormat.on_stream(gate.statistic, rate, window, hop))
        self._gate, self._window, self._hop = StreamGate(gate.settings), window, hop
        self._begun = False

    def decide(self, samples: Array) -> Array:
        """Return whether the gate is open at each of the next hops, [n].

        Args:
            samples: int16 [window + (n - 1) hop]: the windows of these hops.
        """
        if not self._begun:  # the samples of the first window before those of its hop
            self._begun = True
            self._stream.push(samples[: self._window - self._hop])
        return self._gate.push_hops(self._stream.push_hops(samples[self._window - self._hop :]))
