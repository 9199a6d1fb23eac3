"""The activity of a front end or a stage on a stream: the share of hops at which it runs, and how often it opens.

The cost model computes the price of a stream from these two figures. A part of a plan is its front end or a stage. A
hop is the time from one decision to the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatesearch.errors import DataError

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Activity:
    """The activity of one part, per hop of the stream.

    A part opens at a hop at which it runs, if it did not run at the hop before. When it opens, it computes its whole
    window. At each further hop, it computes only new frames. So the mean cost of a hop is
    ``openings x cost of a whole window + (open_share - openings) x cost of the new frames``.

    Args:
        open_share: share of the hops at which the part runs, from 0 to 1.
        openings: mean number of openings per hop, from 0 to ``open_share``.

    Raises:
        DataError: a share is out of its range.

    >>> Activity(open_share=0.5, openings=0.6)
    Traceback (most recent call last):
    ...
    gatesearch.errors.DataError: activity: open_share 0.5, openings 0.6; wanted: 0 <= openings <= open_share <= 1
    """

    open_share: float
    openings: float

    def __post_init__(self) -> None:
        if not 0 <= self.openings <= self.open_share <= 1:
            raise DataError(
                f"activity: open_share {self.open_share}, openings {self.openings}; "
                "wanted: 0 <= openings <= open_share <= 1"
            )

    def openings_per_hour(self, hop_s: float) -> float:
        """Return the number of openings per hour of a stream; ``hop_s`` is the length of a hop in seconds.

        >>> Activity(open_share=0.5, openings=0.001).openings_per_hour(hop_s=0.04)
        90.0
        """
        return self.openings * 3600 / hop_s


STEADY = Activity(open_share=1.0, openings=0.0)
"""The activity of a part that runs at every hop; it opened before the stream started."""


def measure_activity(is_open: Array, was_open: bool = False) -> Activity:
    """Return the activity of a part from the hops at which it runs.

    Args:
        is_open: whether the part runs at each hop, [hops].
        was_open: whether the part ran at the hop before the first one.

    Raises:
        DataError: there is no hop, or ``is_open`` has more than one axis.

    >>> measure_activity(np.array([True, True, False, True, False]))
    Activity(open_share=0.6, openings=0.4)
    """
    if is_open.ndim != 1 or len(is_open) == 0:
        raise DataError(f"activity: hops {list(is_open.shape)}; wanted: [hops], one at least")
    runs = is_open.astype(bool)
    openings = int(runs[0] and not was_open) + int(np.count_nonzero(runs[1:] & ~runs[:-1]))
    return Activity(open_share=int(np.count_nonzero(runs)) / len(runs), openings=openings / len(runs))
