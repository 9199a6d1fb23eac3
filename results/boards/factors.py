"""Fits a factor from instructions to time for each board, and tests it on the network that the fit leaves out."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from scipy.optimize import nnls

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


def fit_with_bytes(readings: ByTask, weight_bytes: ByTask, times: ByTask) -> tuple[float, float]:
    """Return factors of readings and of bytes of weights, neither negative: time = a x reading + b x bytes.

    The second term stands for weights that the core reads from flash. The fit minimises the sum of squared relative
    errors by non-negative least squares (Lawson and Hanson 1974). Each column is scaled to a largest value of 1.
    """
    matrix = np.array([[readings[task] / time, weight_bytes[task] / time] for task, time in times.items()])
    scale = matrix.max(0)
    slopes, _ = nnls(matrix / scale, np.ones(len(times)))
    first, second = slopes / scale
    return float(first), float(second)


def errors_with_bytes(readings: ByTask, weight_bytes: ByTask, times: ByTask) -> dict[str, float]:
    """Return the errors of :func:`leave_one_out` for a price with a second term of weight bytes."""
    errors = {}
    for task, time in times.items():
        others = {other: value for other, value in times.items() if other != task}
        first, second = fit_with_bytes(readings, weight_bytes, others)
        errors[task] = (first * readings[task] + second * weight_bytes[task]) / time - 1
    return errors


def largest(errors: ByTask) -> float:
    """Return the largest absolute error."""
    return max(map(abs, errors.values()))
