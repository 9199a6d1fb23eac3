"""Windows of consecutive hops that share their frames in one array."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gatesearch.runtime.cascade import Array


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows of consecutive hops of one stage; time is the first axis.

    Window i is ``rows[i * step : i * step + length]``.

    Args:
        rows: frames in order, [frames, *rest]; or one whole input a hop, with ``length`` 1 and ``step`` 1.
        length: number of rows of a window.
        step: number of rows from one window to the next.

    >>> windows = Windows(np.arange(8), length=4, step=2)
    >>> windows.window(1).tolist(), windows.skip(1).window(1).tolist(), windows.stretch(2).window(1).tolist()
    ([2, 3, 4, 5], [4, 5, 6, 7], [4, 5, 6, 7])
    """

    rows: Array
    length: int
    step: int

    @property
    def row_size(self) -> int:
        """Number of values of a row."""
        return int(np.prod(self.rows.shape[1:]))

    def window(self, hop: int) -> Array:
        """Return the window of a hop, [length, *rest]."""
        return self.rows[hop * self.step : hop * self.step + self.length]

    def skip(self, hops: int) -> Windows:
        """Return the windows from a hop on."""
        return Windows(self.rows[hops * self.step :], self.length, self.step)

    def stretch(self, phases: int) -> Windows:
        """Return every ``phases``-th window."""
        return Windows(self.rows, self.length, self.step * phases)


@dataclass
class FrameTail:
    """The newest frames of a stream; it turns the frames of new hops into windows.

    Args:
        length: number of frames of a window.
        fresh: number of frames of a hop.
    """

    length: int
    fresh: int
    last: Array | None = None

    def begin(self, frames: Array) -> Windows:
        """Return the windows of hops whose first window begins with ``frames``, [frames, *rest]."""
        self.last = frames[-self.length :]
        return Windows(frames, self.length, self.fresh)

    def go_on(self, frames: Array) -> Windows:
        """Return the windows of the hops that follow the last ones, from their fresh frames alone."""
        assert self.last is not None  # a stream begins with a window
        return self.begin(np.concatenate([self.last[self.fresh :], frames]))
