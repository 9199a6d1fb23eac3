"""The front end of a listener: it turns stretches of samples into the windows of the first stage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np

from gatesearch.compile.tflite import channel_last
from gatesearch.runtime.cascade import Array
from gatesearch.runtime.stream_windows import Windows
from gatesearch.runtime.tensor_spec import TensorSpec


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


@runtime_checkable
class BlockFrontend(Protocol):
    """A front end that reads several hops in a row."""

    def read(self, samples: Array, hop: int, count: int) -> Windows:
        """Return the windows of hops that follow each other, in the type of the first stage's input.

        Args:
            samples: int16 [window + (count - 1) hop].
            hop: index of the first hop in the stream; it grows from call to call.
            count: number of hops.
        """


class HopFrontend:
    """Reads hops one by one through a :class:`StreamFrontend`.

    Args:
        frontend: the front end.
        spec: the first stage's input.
        hop: samples of a hop.
        axis: the time axis of that input; None where the stage reads whole windows.
    """

    def __init__(self, frontend: StreamFrontend, spec: TensorSpec, hop: int, axis: int | None) -> None:
        self._frontend, self._spec, self._hop, self._axis = frontend, spec, hop, axis
        self._next_hop: int | None = None
        self._window: Array | None = None  # of the last hop, time first

    def read(self, samples: Array, hop: int, count: int) -> Windows:
        """See :class:`BlockFrontend`."""
        length = len(samples) - (count - 1) * self._hop
        windows = []
        for k in range(count):
            window = samples[None, k * self._hop : k * self._hop + length]
            goes_on = self._axis is not None and self._next_hop == hop + k
            features = self._frontend.step(window[:, -self._hop :]) if goes_on else self._frontend.begin(window)
            windows.append(self._append(self._spec.quantise(channel_last(features))))
            self._next_hop = hop + k + 1
        if self._axis is None:
            return Windows(np.stack(windows), 1, 1)
        return Windows(np.concatenate(windows), len(windows[0]), len(windows[0]))

    def _append(self, values: Array) -> Array:
        """Return the window, time first, that ends with these frames; or the values where stages read whole windows."""
        if self._axis is None:
            return values
        frames = np.moveaxis(values, self._axis, 0)
        if len(frames) < self._spec.shape[self._axis]:
            assert self._window is not None  # a stream begins with a window
            frames = np.concatenate([self._window[len(frames) :], frames])
        self._window = frames
        return frames


class FrameKernel(Protocol):
    """A kernel that computes frames of int8 features in units of ``FEATURE_SCALE``, in float or in fixed point.

    Attributes:
        shape: frames of a window, and features of a frame.
        stride: samples from one frame to the next.
    """

    shape: tuple[int, int]
    stride: int

    def frames(self, samples: Array, count: int) -> Array:
        """Return the features of the first frames of a stretch of sound, int16 [n] -> int8 [count, features]."""


class MelFrontend:
    """Computes log-mel or MFCC frames by a C kernel, each frame once.

    Frames of a window that were computed for an earlier hop are not computed again, even if hops without a front end
    lie between.

    Args:
        mel: the front end.
        spec: the first stage's input, [1, frames, features, 1].
        hop: samples of a hop.
        by_hops: whether windows share their frames; without it, the stage reads whole windows.
    """

    def __init__(self, mel: FrameKernel, spec: TensorSpec, hop: int, by_hops: bool) -> None:
        self._mel, self._spec, self._by_hops = mel, spec, by_hops
        self._frames, self._stride = mel.shape[0], mel.stride
        # Where a hop is no whole number of frames, windows share none.
        self._hop, self._step = hop, hop // self._stride if hop % self._stride == 0 else None
        self._last: Array | None = None  # frames of the last window
        self._last_hop = 0

    @staticmethod
    def fits(mel: FrameKernel, spec: TensorSpec) -> bool:
        """Say whether a stage's input holds the frames of the front end in their order."""
        return spec.shape == (1, *mel.shape, 1)

    def read(self, samples: Array, hop: int, count: int) -> Windows:
        """See :class:`BlockFrontend`."""
        step = self._step
        if step is None:
            starts = range(0, count * self._hop, self._hop)
            frames = np.concatenate([self._mel.frames(samples[start:], self._frames) for start in starts])
            return self._windows(frames, self._frames, count)
        total, old = self._frames + (count - 1) * step, self._old_frames((hop - self._last_hop) * step)
        frames = self._mel.frames(samples[len(old) * self._stride :], total - len(old))
        frames = np.concatenate([old, frames]) if len(old) else frames
        self._last, self._last_hop = frames[-self._frames :], hop + count - 1
        return self._windows(frames, step, count)

    def _old_frames(self, age: int) -> Array:
        """Return the frames of the last window that are in the next one, which ends ``age`` frames later."""
        return np.zeros((0, 0), np.int8) if self._last is None else self._last[age:]

    def _windows(self, frames: Array, step: int, count: int) -> Windows:
        from gatesearch.frontends.grid import FEATURE_SCALE

        values = frames
        if (self._spec.dtype, self._spec.scale, self._spec.zero_point) != (np.int8, FEATURE_SCALE, 0):
            values = self._spec.quantise(frames.astype(np.float32) * np.float32(FEATURE_SCALE))
        windows = Windows(values[:, None, :, None], self._frames, step)
        if self._by_hops:
            return windows
        return Windows(np.stack([windows.window(k)[:, 0][None] for k in range(count)]), 1, 1)
