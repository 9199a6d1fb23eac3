"""How far a count can be trusted: intervals of false accepts an hour and of miss rates, and how long a stream must be.

An hour of stream often holds two false accepts or none, so the rate alone says little.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from scipy.special import betaincinv, gammaincinv

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """The least and the largest value that a count allows at a confidence."""

    low: float
    high: float


def poisson_interval(count: int, hours: float, confidence: float = CONFIDENCE) -> Interval:
    """Return the exact interval of a rate an hour from a count in so many hours.

    For n events the bounds of the mean are half the chi-square quantiles at 2n and 2n + 2 degrees of freedom (Garwood,
    Biometrika 28, 1936), here as inverse incomplete gamma functions. For no event only the upper bound is open, so the
    whole error lies there: -ln(1 - confidence) / hours, at 95 % the rule of three, 3 / hours (Hanley and Lippman-Hand,
    JAMA 249, 1983).

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
    """Return the exact interval of a share (Clopper and Pearson, Biometrika 26, 1934); from 0 to 1 without a sample.

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
    """Return how long a stream has to be to claim fewer false accepts an hour, if it held none at all.

    >>> round(hours_for(0.1), 2)
    29.96
    """
    return -math.log1p(-confidence) / fa_per_hour


def enough_for(fa_per_hour: float, hours: float, confidence: float = CONFIDENCE) -> bool:
    """Say whether a stream of so many hours can back a claim of fewer false accepts an hour.

    >>> enough_for(0.5, hours=2.0), enough_for(2.0, hours=2.0)
    (False, True)
    """
    return hours >= hours_for(fa_per_hour, confidence)


def doubt_about(fa_per_hour: float, hours: float, confidence: float = CONFIDENCE) -> str | None:
    r"""Return one line that says why a stream is too short for a claim; None where it is long enough.

    >>> print(doubt_about(0.1, hours=1.0).replace(": ", ":\n"))
    1 h of stream is too short to claim 0.1 false accepts an hour:
    with none at all it is below 3 at 95 %; 30 h would do
    """
    if enough_for(fa_per_hour, hours, confidence):
        return None
    bound = poisson_interval(0, hours, confidence).high
    return (
        f"{hours:.3g} h of stream is too short to claim {fa_per_hour:g} false accepts an hour: with none at "
        f"all it is below {bound:.3g} at {100 * confidence:g} %; "
        f"{hours_for(fa_per_hour, confidence):.3g} h would do"
    )
