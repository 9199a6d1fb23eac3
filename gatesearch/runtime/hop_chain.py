"""Runs the stages of a bundle hop by hop; a stage catches up on its window when its gate opens.

At every hop, whichever gates opened before, the chain computes the same integers as the bundle on a whole window.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gatesearch.runtime.bundle import Bundle, HopPrograms
from gatesearch.runtime.cascade import Array, Runnable, requantise


class HopStage:
    """One stage on a stream, in one phase: the last window of its input, and its state.

    Phases are states of the network that take turns from hop to hop.

    Args:
        program: the stage's program for whole windows.
        hops: the stage's hop programs; None where the stage runs ``program`` on each window.
    """

    def __init__(self, program: Runnable, hops: HopPrograms | None) -> None:
        self.program, self.hops = program, hops
        self.window: Array | None = None  # the ring buffer
        self.state: tuple[Array, ...] | None = None
        self.catch_ups = 0

    def take(self, values: Array) -> None:
        """Store a whole window of the input, or the frames that follow the stored window."""
        hops = self.hops
        if hops is None or values.shape[hops.axis] == hops.window:
            self.window = values
            return
        assert self.window is not None  # the first values that a stage gets are a whole window
        both = np.concatenate([self.window, values], hops.axis)
        self.window = _last(both, hops.axis, hops.window)

    def close(self) -> None:
        """Forget the state: the next run catches up."""
        self.state = None

    def run(self) -> tuple[Array, ...]:
        """Return the outputs; outputs with a time axis hold all frames after a catch-up, else only the new frames."""
        assert self.window is not None
        hops = self.hops
        if hops is None:
            return self.program(np.ascontiguousarray(self.window))
        count = len(self.program.outputs)
        if self.state is None:
            outputs = hops.catch_up(np.ascontiguousarray(self.window))
            self.catch_ups += 1
        else:
            fresh = _last(self.window, hops.axis, hops.fresh)
            outputs = hops.step(np.ascontiguousarray(fresh), *self.state)
        self.state = outputs[count:]
        return outputs[:count]


class HopChain:
    """The stages of a bundle on one stream.

    Each hop takes these calls: first :meth:`take`, then :meth:`run` for each stage that runs, in order, and last
    :meth:`close` for the first stage that does not run.

    Args:
        bundle: a bundle; if it has no programs by hops, each stage runs its program on whole windows.
    """

    def __init__(self, bundle: Bundle) -> None:
        entry = bundle.manifest.get("hops")
        self.phases = entry["phases"] if entry else 1
        hops = bundle.hop_programs() if entry else [None] * len(bundle.programs)
        self._first = hops[0]
        self._chains = [
            [HopStage(program, own) for program, own in zip(bundle.programs, hops, strict=True)]
            for _ in range(self.phases)
        ]
        self._ends = [
            (before.outputs[0], after.inputs[0])
            for before, after in zip(bundle.programs, bundle.programs[1:], strict=False)
        ]
        self._features: Array | None = None
        self._hops = -1

    @property
    def catch_ups(self) -> list[int]:
        """The number of catch-ups of each stage."""
        return [sum(chain[k].catch_ups for chain in self._chains) for k in range(len(self._chains[0]))]

    @property
    def _stages(self) -> Sequence[HopStage]:
        return self._chains[self._hops % self.phases]

    def take(self, frames: Array) -> None:
        """Take a whole window of features, or the frames of a hop, in the type of the first stage's input."""
        self._hops += 1
        first = self._first
        if first is not None and frames.shape[first.axis] != first.window:
            assert self._features is not None  # a stream begins with a window
            frames = _last(np.concatenate([self._features, frames], first.axis), first.axis, first.window)
        self._features = frames
        self._stages[0].take(frames)

    def run(self, k: int) -> tuple[Array, ...]:
        """Run stage ``k``, pass its first output to the next stage, and return all its outputs."""
        outputs = self._stages[k].run()
        if k < len(self._ends):
            source, target = self._ends[k]
            self._stages[k + 1].take(requantise(outputs[0], source, target))
        return outputs

    def window(self, k: int) -> Array:
        """Return the whole window that stage ``k`` has of its input at this hop."""
        window = self._stages[k].window
        assert window is not None  # the stage before has run at this hop
        return window

    def close(self, k: int) -> None:
        """Close stage ``k`` and those after it at this hop, in all phases."""
        for chain in self._chains:
            for stage in chain[k:]:
                stage.close()


def _last(values: Array, axis: int, count: int) -> Array:
    index = [slice(None)] * values.ndim
    index[axis] = slice(values.shape[axis] - count, None)
    return values[tuple(index)]
