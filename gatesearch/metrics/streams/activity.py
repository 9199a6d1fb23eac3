"""How often a part of a chain runs over a stream, and how often it has to catch up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Activity:
    """How often a part of a chain runs.

    Args:
        open_share: share of the hops at which the part runs.
        openings: share of the hops at which it runs and did not run at the hop before, so that it catches up.
    """

    open_share: float
    openings: float


STEADY = Activity(open_share=1.0, openings=0.0)
"""The activity of a part that runs at every hop."""


def measure_activity(is_open: npt.NDArray[np.bool_]) -> Activity:
    """Return the activity of a part that runs at some of the hops of a stream, [hops]; the first open one counts.

    >>> measure_activity(np.array([True, False, True, True]))
    Activity(open_share=0.75, openings=0.5)
    """
    if not is_open.size:
        return Activity(0.0, 0.0)
    before = np.concatenate([[False], is_open[:-1]])
    return Activity(float(np.mean(is_open)), float(np.mean(is_open & ~before)))
