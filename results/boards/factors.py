"""Fits a factor from instructions to time for each board, and tests it on the network that the fit leaves out."""

from __future__ import annotations

import math
from collections.abc import Mapping

ByTask = Mapping[str, float]


def fit(readings: ByTask, times: ByTask) -> float:
    """Return the factor from readings to times.

    It is the geometric mean of time / reading over the tasks. This factor minimises the sum of squared errors of the
    logarithm, sum (log(factor x reading) - log(time))^2, so that a network of 3 ms counts as much as one of 180 ms.

    >>> round(fit({"a": 1.0, "b": 10.0}, {"a": 2.0, "b": 20.0}), 9)
    2.0
    """
    return math.exp(sum(math.log(times[task] / readings[task]) for task in times) / len(times))


def leave_one_out(readings: ByTask, times: ByTask) -> dict[str, float]:
    """Return the relative error of each task's time, predicted with the factor of the other tasks.

    >>> leave_one_out({"a": 1.0, "b": 1.0, "c": 2.0}, {"a": 1.0, "b": 1.0, "c": 1.0})["c"]
    1.0
    """
    return {
        task: fit(readings, {other: time for other, time in times.items() if other != task}) * readings[task] / value
        - 1
        for task, value in times.items()
    }


def largest(errors: ByTask) -> float:
    """Return the largest absolute error."""
    return max(map(abs, errors.values()))
