"""Kendall's tau: whether two readings put the same things in one order."""

from __future__ import annotations

import math
from collections.abc import Sequence


def kendall(one: Sequence[float], two: Sequence[float]) -> float:
    """Return Kendall's tau-b of two readings of the same things; -1 where one is all alike, which tells nothing.

    >>> round(kendall([0.5, 0.4, 0.3, 0.2], [0.2, 0.3, 0.1, 0.05]), 2)
    0.67
    >>> kendall([0.5, 0.5], [0.2, 0.3])
    -1.0
    """
    from scipy.stats import kendalltau

    found = float(kendalltau(one, two).statistic)
    return found if math.isfinite(found) else -1.0
