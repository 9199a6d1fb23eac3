"""The listener's side of a recursive front end, whose frames depend on the whole stream before them."""

from __future__ import annotations

import numpy as np

from gatesearch.compile.tflite import channel_last
from gatesearch.runtime.cascade import Array
from gatesearch.runtime.stream_frontend import StreamFrontend
from gatesearch.runtime.stream_windows import Windows
from gatesearch.runtime.tensor_spec import TensorSpec


class RecursiveFrontend:
    """Computes each frame of a stream once, in order, whether the stages read hops or whole windows.

    Args:
        frontend: the front end on the stream.
        spec: the first stage's input.
        hop: samples of a hop.
        axis: the time axis of that input.
        frames: number of frames of a window, and of a hop.
        by_hops: whether windows share their frames; without it, the stages read whole windows.
    """

    def __init__(
        self, frontend: StreamFrontend, spec: TensorSpec, hop: int, axis: int, frames: tuple[int, int], by_hops: bool
    ) -> None:
        self._frontend, self._spec, self._hop, self._axis, self._by_hops = frontend, spec, hop, axis, by_hops
        self._window_frames, self._hop_frames = frames
        self._last: Array | None = None  # frames of the last window, time first
        self._next_hop = 0

    def read(self, samples: Array, hop: int, count: int) -> Windows:
        """See :class:`gatesearch.runtime.stream_frontend.BlockFrontend`."""
        assert hop == self._next_hop  # no gate stands before this front end, so that no hop is left out
        length = len(samples) - (count - 1) * self._hop
        frames = [] if self._last is None else [self._last[self._hop_frames :]]
        start = length - self._hop
        if self._last is None:
            frames, start = [self._values(self._frontend.begin(samples[None, :length]))], length
        size = (
            max(1, self._window_frames // self._hop_frames) * self._hop
        )  # a step returns at most the frames of a window
        for first in range(start, len(samples), size):
            frames.append(self._values(self._frontend.step(samples[None, first : first + size])))
        values = np.concatenate(frames)
        self._last, self._next_hop = values[-self._window_frames :], hop + count
        windows = Windows(values, self._window_frames, self._hop_frames)
        if self._by_hops:
            return windows
        whole = [np.moveaxis(windows.window(k), 0, self._axis) for k in range(count)]
        return Windows(np.stack(whole), 1, 1)

    def _values(self, features: Array) -> Array:
        """Return features in the type of the first stage's input, time first."""
        return np.moveaxis(self._spec.quantise(channel_last(features)), self._axis, 0)
