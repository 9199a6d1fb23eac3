"""The time axis of a tensor, and which of its frames an operator reads when the window moves by one hop.

A window has ``count`` frames, and moves by ``hop`` frames from decision to decision. Frame j of a window is frame
j + hop of the window before. So an operator whose output frame j reads the input frames

    first + j stride ... first + j stride + extent - 1

computes only its last ``hop / stride`` output frames anew. All others were computed for earlier windows. Its state is
what it reads of frames that came with earlier hops.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Frames:
    """The time axis of the tensor that an operator gives for one window.

    Args:
        axis: of time, counted with the batch axis.
        count: frames of one window.
        hop: frames by which the window moves from one decision to the next.
    """

    axis: int
    count: int
    hop: int

    @property
    def fresh(self) -> int:
        """Frames of a window that were not in the window before."""
        return min(self.hop, self.count)

    @property
    def first_fresh(self) -> int:
        """Index of the first fresh frame in its window."""
        return self.count - self.fresh


@dataclass(frozen=True, slots=True)
class Slide:
    """An operator that slides over time: output frame j reads ``extent`` frames from ``first + j stride`` on.

    Args:
        first: frame that output frame 0 reads first.
        extent: frames from the first to the last that one output frame reads.
        stride: frames from output frame to output frame.
    """

    first: int = 0
    extent: int = 1
    stride: int = 1

    def output(self, frames: Frames, count: int) -> Frames:
        """Return the time axis of the output, which has ``count`` frames a window."""
        return Frames(frames.axis, count, frames.hop // self.stride)

    def start(self, output: Frames) -> int:
        """Return the first input frame, in its window, that fresh output frames read.

        >>> frames = Frames(axis=2, count=49, hop=4)
        >>> conv = Slide(extent=10, stride=2)
        >>> conv.start(conv.output(frames, count=20)), frames.first_fresh
        (36, 45)
        """
        return self.first + output.first_fresh * self.stride

    def needs_more(self, frames: Frames, output: Frames) -> bool:
        """Say whether the last output frame reads beyond the window, as with a padding behind it."""
        return self.first + (output.count - 1) * self.stride + self.extent > frames.count


def common_hop(hop: int, stride: int) -> int:
    """Return the smallest multiple of a hop that a stride divides.

    >>> common_hop(1, 2), common_hop(4, 2), common_hop(3, 2)
    (2, 4, 6)
    """
    return math.lcm(hop, stride)
