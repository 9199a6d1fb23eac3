"""Confidence intervals of false accepts per hour and of miss rates; stream lengths that claims need.

In an hour of stream there are often only two false accepts or none, so that the rate alone says little.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from scipy.special import betaincinv, gammaincinv

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A confidence interval: the smallest and the largest value that agree with a count."""

    low: float
    high: float


def poisson_interval(count: int, hours: float, confidence: float = CONFIDENCE) -> Interval:
    """Return the exact interval of a rate per hour, given a count in ``hours`` hours.

    For a count n, the bounds of its mean are half the chi-square quantiles with 2n and 2n + 2 degrees of freedom
    (Garwood, Biometrika 28, 1936). The code uses inverse incomplete gamma functions for these quantiles. For n = 0 the
    lower bound is 0, so the whole error probability belongs to the upper bound, -ln(1 - confidence) / hours. At 95 %
    this is the rule of three, 3 / hours (Hanley and Lippman-Hand, JAMA 249, 1983).

    >>> [round(bound, 2) for bound in poisson_interval(0, 2.0)]
    [0.0, 1.5]
    >>> [round(bound, 2) for bound in poisson_interval(4, 1.0)]
    [1.09, 10.24]
    """
    if count == 0:
        return Interval(0.0, -math.log1p(-confidence) / hours)
    tail = (1 - confidence) / 2
    low, high = gammaincinv(count, tail), gammaincinv(count + 1, 1 - tail)
    return Interval(float(low) / hours, float(high) / hours)


def binomial_interval(count: int, total: int, confidence: float = CONFIDENCE) -> Interval:
    """Return the exact interval of the share ``count / total``; from 0 to 1 if ``total`` is 0.

    The interval is that of Clopper and Pearson, Biometrika 26, 1934.

    >>> [round(bound, 3) for bound in binomial_interval(6, 50)]
    [0.045, 0.243]
    >>> binomial_interval(0, 0)
    Interval(low=0.0, high=1.0)
    """
    tail = (1 - confidence) / 2
    low = float(betaincinv(count, total - count + 1, tail)) if count > 0 else 0.0
    high = float(betaincinv(count + 1, total - count, 1 - tail)) if count < total else 1.0
    return Interval(low, high)


def hours_for(fa_per_hour: float, confidence: float = CONFIDENCE) -> float:
    """Return how many hours of stream without a false accept are needed to claim a rate below ``fa_per_hour``.

    >>> round(hours_for(0.1), 2), hours_for(0.0)
    (29.96, inf)
    """
    if fa_per_hour == 0:
        return math.inf
    return -math.log1p(-confidence) / fa_per_hour


def enough_for(fa_per_hour: float, hours: float, confidence: float = CONFIDENCE) -> bool:
    """Say whether a stream of ``hours`` hours is long enough to claim a rate below ``fa_per_hour``.

    >>> enough_for(0.5, hours=2.0), enough_for(2.0, hours=2.0)
    (False, True)
    """
    return hours >= hours_for(fa_per_hour, confidence)


def doubt_about(fa_per_hour: float, hours: float, confidence: float = CONFIDENCE) -> str | None:
    r"""Return a line that says why a stream is too short for a claim; None if it is long enough.

    >>> print(doubt_about(0.1, hours=1.0).replace(": ", ":\n"))
    1 h of stream is too short to claim 0.1 false accepts an hour:
    without any, the rate is below 3 at 95 % confidence; the claim needs 30 h
    """
    if enough_for(fa_per_hour, hours, confidence):
        return None
    bound = poisson_interval(0, hours, confidence).high
    needed = hours_for(fa_per_hour, confidence)
    return (
        f"{hours:.3g} h of stream is too short to claim {fa_per_hour:g} false accepts an hour: "
        f"without any, the rate is below {bound:.3g} at {100 * confidence:g} % confidence; "
        + (f"the claim needs {needed:.3g} h" if math.isfinite(needed) else "no length is enough")
    )
