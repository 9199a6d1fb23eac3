"""The DET curve of a detector: miss rate over false accepts an hour, threshold by threshold.

Detection error trade-off, Martin et al., Eurospeech 1997, with a rate in time instead of a share of trials.
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
    """A threshold and what a detector does at it, on the streams of a curve.

    Args:
        threshold: the threshold of the detector.
        fa_per_hour, miss_rate: there.
    """

    threshold: float
    fa_per_hour: float
    miss_rate: float


@dataclass(frozen=True, slots=True)
class DetCurve:
    """A detector's misses and false accepts at rising thresholds.

    Neither falls or rises steadily: with hits in a row and a refractory time a lower threshold can hide one detection
    behind another.

    Args:
        thresholds: rising, each between two values that the outputs take, [points].
        fa_per_hour, miss_rates: at each of them, [points].
        hours, events: of the streams behind it.

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
        """Return the point of the lowest threshold from which on every one keeps at most so many false accepts an hour.

        From which on: a flood of detections far below can hide behind its own refractory time and keep the bound.

        Raises:
            DataError: the curve has no such threshold.
        """
        within = np.flatnonzero(self.fa_per_hour > fa_per_hour)
        index = int(within[-1]) + 1 if len(within) else 0
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
