"""The time axis of a tensor, and the frames that an operator reads when the window moves by one hop.

A window has ``count`` frames. It moves by ``hop`` frames from one decision to the next, so that frame j of a window is
frame j + hop of the window before. Output frame j of an operator reads the input frames

    first + j stride ... first + j stride + extent - 1

where ``first``, ``stride`` and ``extent`` are the fields of :class:`Slide`. So the operator has to compute only its
last ``hop / stride`` output frames, the fresh ones. The other output frames were computed for earlier windows. The
operator's state is the input frames of earlier hops that its fresh output frames read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Frames:
    """The time axis of an operator's output for one window.

    Args:
        axis: index of the time axis, counted with the batch axis.
        count: number of frames in one window.
        hop: number of frames by which the window moves from one decision to the next.
    """

    axis: int
    count: int
    hop: int

    @property
    def fresh(self) -> int:
        """Number of frames in a window that were not in the window before."""
        return min(self.hop, self.count)

    @property
    def first_fresh(self) -> int:
        """Index of the first fresh frame in its window."""
        return self.count - self.fresh


@dataclass(frozen=True, slots=True)
class Slide:
    """An operator that slides over time: output frame j reads ``extent`` frames from ``first + j stride`` on.

    Args:
        first: index of the first input frame that output frame 0 reads.
        extent: number of input frames from the first to the last one that an output frame reads.
        stride: number of input frames from one output frame to the next.
    """

    first: int = 0
    extent: int = 1
    stride: int = 1

    def output(self, frames: Frames, count: int) -> Frames:
        """Return the time axis of the output, which has ``count`` frames per window."""
        return Frames(frames.axis, count, frames.hop // self.stride)

    def start(self, output: Frames) -> int:
        """Return the index in the window of the first input frame that fresh output frames read.

        >>> frames = Frames(axis=2, count=49, hop=4)
        >>> conv = Slide(extent=10, stride=2)
        >>> conv.start(conv.output(frames, count=20)), frames.first_fresh
        (36, 45)
        """
        return self.first + output.first_fresh * self.stride

    def needs_more(self, frames: Frames, output: Frames) -> bool:
        """Say whether the last output frame reads beyond the window, for example because of padding behind it."""
        return self.first + (output.count - 1) * self.stride + self.extent > frames.count


def common_hop(hop: int, stride: int) -> int:
    """Return the smallest multiple of a hop that is also a multiple of a stride.

    >>> common_hop(1, 2), common_hop(4, 2), common_hop(3, 2)
    (2, 4, 6)
    """
    return math.lcm(hop, stride)
