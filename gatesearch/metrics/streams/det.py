"""The DET curve of a detector: miss rate and false accepts per hour at each threshold.

DET is the detection error trade-off of Martin et al., Eurospeech 1997. The paper's curve shows the share of trials with
a false accept. This curve shows false accepts per hour instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatesearch.errors import DataError

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold and the figures of a detector at this threshold.

    Args:
        threshold: the threshold of the detector.
        fa_per_hour: false accepts per hour at the threshold.
        miss_rate: share of missed events at the threshold.
    """

    threshold: float
    fa_per_hour: float
    miss_rate: float


@dataclass(frozen=True, slots=True)
class DetCurve:
    """A detector's misses and false accepts at ascending thresholds.

    Neither misses nor false accepts are monotonic in the threshold. With a refractory time, a lower threshold can
    suppress a detection, because it adds another detection just before.

    Args:
        thresholds: ascending thresholds, [points]; each lies between two neighbouring outputs.
        fa_per_hour: false accepts per hour at each threshold, [points].
        miss_rates: share of missed events at each threshold, [points].
        hours: length of all streams in hours.
        events: number of events in all streams.

    >>> curve = DetCurve(np.array([0.2, 0.5, 0.8]), np.array([9.0, 2.0, 0.0]), np.array([0.0, 0.1, 0.4]), 1.0, 10)
    >>> curve.operating_point(2.0)
    OperatingPoint(threshold=0.5, fa_per_hour=2.0, miss_rate=0.1)
    >>> curve.threshold_for(1.0)
    0.8
    """

    thresholds: Array
    fa_per_hour: Array
    miss_rates: Array
    hours: float
    events: int

    def operating_point(self, fa_per_hour: float) -> OperatingPoint:
        """Return the point of the lowest threshold from which on no threshold makes more than ``fa_per_hour``.

        A much lower threshold may keep this bound as well, because the refractory time hides most of its many
        detections. Such a threshold is not chosen, since thresholds above it break the bound.

        Raises:
            DataError: the curve has no such threshold.
        """
        exceeding = np.flatnonzero(self.fa_per_hour > fa_per_hour)
        index = int(exceeding[-1]) + 1 if len(exceeding) else 0
        if index >= len(self.thresholds):
            raise DataError(
                f"no threshold of the curve keeps {fa_per_hour:g} false accepts an hour; "
                f"the highest makes {self.fa_per_hour[-1] if len(self.thresholds) else float('nan'):g}"
            )
        return OperatingPoint(
            threshold=float(self.thresholds[index]),
            fa_per_hour=float(self.fa_per_hour[index]),
            miss_rate=float(self.miss_rates[index]),
        )

    def threshold_for(self, fa_per_hour: float) -> float:
        """Return the threshold of :meth:`operating_point`."""
        return self.operating_point(fa_per_hour).threshold
