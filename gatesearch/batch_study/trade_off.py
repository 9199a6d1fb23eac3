"""The trade-off between training steps and batch size: regimes, critical batch size, recommended size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from gatesearch.batch_study.findings import BatchStudy, median_steps

# Limits between the regimes, as slopes of log steps against log batch size. The ideal slope of perfect scaling is -1,
# that of maximal parallelism 0.
PERFECT_SLOPE, MAXIMAL_SLOPE = -0.9, -0.1
SEARCH_FACTOR = 64.0  # the fit searches critical batch sizes up to this factor beyond the studied batch sizes
MAX_SAMPLES_FACTOR = 2.0  # bound on the samples that the recommended size needs, as a multiple of the fewest samples
MIN_POINTS = 3  # points that a fit with two parameters needs


@dataclass(frozen=True, slots=True)
class TradeOff:
    """The hyperbola of the steps S and the samples E to a goal: (S / S_min - 1)(E / E_min - 1) = 1.

    It is from McCandlish et al. 2018, "An Empirical Model of Large-Batch Training" (arXiv 1812.06162). S_min and E_min
    are the least steps and the least samples. At batch size B, S steps take E = B S samples. Solved for the steps, the
    hyperbola reads S = S_min (1 + B_crit / B).

    Args:
        min_steps: S_min, the steps that the largest batches need.
        critical_batch: B_crit = E_min / S_min, the critical batch size. At this size, steps and samples are both twice
            their minimum.
    """

    min_steps: float
    critical_batch: float

    def steps(self, batch: float) -> float:
        """Return the steps at a batch size."""
        return self.min_steps * (1 + self.critical_batch / batch)


def fit_trade_off(batches: Sequence[float], steps: Sequence[float]) -> TradeOff | None:
    """Fit the hyperbola to log steps by least squares; None for fewer than three points.

    >>> fit = fit_trade_off([8, 16, 32, 64], [110, 60, 35, 22.5])
    >>> round(fit.min_steps, 2), round(fit.critical_batch, 2)
    (10.0, 80.0)
    """
    if len(batches) < MIN_POINTS:
        return None
    log_batches, log_steps = np.log(batches), np.log(steps)

    def log_min_steps(log_critical: float) -> NDArray[np.float64]:
        """Return log S_min as each point implies it: log S - log(1 + B_crit / B)."""
        estimates: NDArray[np.float64] = log_steps - np.log1p(np.exp(log_critical - log_batches))
        return estimates

    # For a fixed B_crit, the best log S_min is the mean of these estimates, and their variance is the mean squared
    # residual of the fit. So a search over B_crit alone minimises over both parameters. The fit uses logarithms, so
    # that relative errors count. Small batches take a hundred times the steps of large ones, and their absolute errors
    # would decide the fit alone.
    bounds = (float(log_batches.min() - math.log(SEARCH_FACTOR)), float(log_batches.max() + math.log(SEARCH_FACTOR)))
    minimum = minimize_scalar(lambda x: float(np.var(log_min_steps(x))), bounds=bounds, method="bounded")
    return TradeOff(
        min_steps=float(np.exp(log_min_steps(minimum.x).mean())),
        critical_batch=float(np.exp(minimum.x)),
    )


def local_slopes(batches: Sequence[float], steps: Sequence[float]) -> list[float]:
    """Return the local slope of log2 steps against log2 batch size at each point; there are at least two points.

    >>> [round(slope, 3) for slope in local_slopes([8, 16, 32, 64], [400, 200, 100, 100])]
    [-1.0, -1.0, -0.5, 0.0]
    """
    return [float(slope) for slope in np.gradient(np.log2(steps), np.log2(batches))]


def name_regime(slope: float) -> str:
    """Return the regime of scaling: ``perfect scaling``, ``diminishing returns`` or ``maximal parallelism``.

    The names are those of Shallue et al. 2018 (arXiv 1811.03600).
    """
    if slope <= PERFECT_SLOPE:
        return "perfect scaling"
    return "diminishing returns" if slope <= MAXIMAL_SLOPE else "maximal parallelism"


def steps_to_goal(study: BatchStudy) -> float:
    """Return the steps to the goal at a batch size; infinite if no config reached the goal.

    The steps of a config are the median over its repeats. The result is the least of these medians.
    """
    return min((median_steps(repeats) for repeats in study.repeats.values()), default=math.inf)


def rate_exponent(batches: Sequence[float], rates: Sequence[float]) -> float:
    """Return the exponent p of the best-fitting power law rate ~ batch^p.

    The linear rule has p = 1, the square-root rule p = 1/2.

    >>> round(rate_exponent([8, 32, 128], [0.1, 0.2, 0.4]), 6)
    0.5
    """
    return float(np.polyfit(np.log(batches), np.log(rates), 1)[0])


def choose_batch(batches: Sequence[int], steps: Sequence[float], critical_batch: float) -> int:
    """Return the batch size for ``retrain.batch_size=auto``.

    Only sizes that reached the goal count. The samples to the goal are steps x batch size. By the hyperbola, the
    critical batch size takes twice the fewest samples, but measured points deviate from the hyperbola. So the choice is
    the largest size with two properties: it is at most the studied size nearest to the critical one, and it takes at
    most twice the fewest samples. If the size with the fewest samples is larger, the choice is that size.

    >>> choose_batch([8, 16, 32, 64], [110, 60, 35, 22.5], critical_batch=80.0)
    64
    >>> choose_batch([8, 16, 32, 64], [25, 17.5, 14, 13], critical_batch=20.0)
    16
    """
    samples = {b: b * s for b, s in zip(batches, steps, strict=True) if math.isfinite(s)}
    fewest = min(samples.values())
    nearest = min(samples, key=lambda b: (abs(math.log2(b / critical_batch)), b))
    allowed = [b for b in samples if b <= nearest and samples[b] <= MAX_SAMPLES_FACTOR * fewest]
    # The batch size with the fewest samples may lie above the nearest one; it is always allowed.
    allowed += [b for b in samples if samples[b] == fewest]
    return max(allowed)
