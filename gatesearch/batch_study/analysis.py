"""What the steps to a goal say: regimes, the critical batch size, and how sure it is (techniques section 5.2)."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from gatesearch.batch_study.journal import Entry
from gatesearch.batch_study.study import BEST, BatchStudy, ranked, to_goal

PERFECT, MAXIMAL = -0.9, -0.1  # slopes of log steps against log batch size
REACH = 64.0  # a critical batch size this factor beyond those studied is as good as none
ALLOWED = 2.0  # times the fewest samples to the goal that the batch size to train with may cost
DRAWS = 1000
INTERVAL = (5.0, 95.0)  # percentiles


@dataclass(frozen=True, slots=True)
class Fit:
    """The hyperbola (S / S_min - 1)(E / E_min - 1) = 1 of McCandlish et al. 2018, that is S = S_min (1 + B_crit / B).

    Args:
        steps: S_min, what the largest batches would need.
        critical: B_crit = E_min / S_min; there steps and samples both are twice their least.
    """

    steps: float
    critical: float

    def at(self, batch: float) -> float:
        """Return the steps at a batch size."""
        return self.steps * (1 + self.critical / batch)


def fit(batches: Sequence[float], steps: Sequence[float]) -> Fit | None:
    """Fit the hyperbola to log steps by least squares; None for fewer than three points.

    >>> found = fit([8, 16, 32, 64], [110, 60, 35, 22.5])
    >>> round(found.steps, 2), round(found.critical, 2)
    (10.0, 80.0)
    """
    if len(batches) < 3:
        return None
    log_batches, log_steps = np.log(batches), np.log(steps)

    def residuals(log_critical: float) -> NDArray[np.float64]:
        rest: NDArray[np.float64] = log_steps - np.log1p(np.exp(log_critical - log_batches))
        return rest

    bounds = (float(log_batches.min() - math.log(REACH)), float(log_batches.max() + math.log(REACH)))
    found = minimize_scalar(lambda x: float(np.var(residuals(x))), bounds=bounds, method="bounded")
    return Fit(float(np.exp(residuals(found.x).mean())), float(np.exp(found.x)))


def slopes(batches: Sequence[float], steps: Sequence[float]) -> list[float]:
    """Return the local slope of log2 steps against log2 batch size at each of two points or more.

    >>> [round(slope, 3) for slope in slopes([8, 16, 32, 64], [400, 200, 100, 100])]
    [-1.0, -1.0, -0.5, 0.0]
    """
    return [float(slope) for slope in np.gradient(np.log2(steps), np.log2(batches))]


def regime(slope: float) -> str:
    """Return what more samples a step buy: ``perfect scaling``, ``diminishing returns``, ``maximal parallelism``."""
    if slope <= PERFECT:
        return "perfect scaling"
    return "diminishing returns" if slope <= MAXIMAL else "maximal parallelism"


def steps_to_goal(found: BatchStudy) -> float:
    """Return the least median over the repeats of the best configs; infinite where none reached the goal."""
    return min((to_goal(repeats) for repeats in found.repeats.values()), default=math.inf)


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """Percentiles over trials drawn again, and repeats with them.

    Args:
        steps: low and high for each batch size; infinite where the draws did not reach the goal.
        critical: low and high of the critical batch size, corrected for bias; None where nothing could be fitted.
        exponent: the same of the exponent of the best effective rate.
    """

    steps: tuple[tuple[float, float], ...]
    critical: tuple[float, float] | None
    exponent: tuple[float, float] | None


def bootstrap(studies: Sequence[BatchStudy], seed: int) -> Bootstrap:
    """Go through the search again and again with trials drawn from those that were run.

    In each draw the best of the trials drawn stand with repeats drawn from theirs, or, where a trial was never
    repeated, with its own steps.
    """
    rng = np.random.default_rng(seed)
    draws = np.full((DRAWS, len(studies)), math.inf)
    criticals, exponents = [], []
    orders = [ranked(found.trials) for found in studies]
    for draw in draws:
        rates = []
        for k, (found, order) in enumerate(zip(studies, orders, strict=True)):
            draw[k], rate = _drawn(found, order, rng)
            rates.append(rate)
        here = [k for k in range(len(studies)) if math.isfinite(draw[k])]
        batches = [studies[k].batch for k in here]
        if (again := fit(batches, draw[here].tolist())) is not None:
            criticals.append(again.critical)
            exponents.append(exponent(batches, [rates[k] for k in here]))
    steps = tuple(_interval(draws[:, k]) for k in range(len(studies)))
    came = [found for found in studies if math.isfinite(steps_to_goal(found))]
    batches = [found.batch for found in came]
    seen = fit(batches, [steps_to_goal(found) for found in came])
    if seen is None or not criticals:
        return Bootstrap(steps, None, None)
    rule = exponent(batches, [found.best.rate for found in came if found.best is not None])
    return Bootstrap(steps, _corrected(criticals, seen.critical), _corrected(exponents, rule))


def exponent(batches: Sequence[float], rates: Sequence[float]) -> float:
    """Return p of the power law rate ~ batch^p that fits best; the linear rule says 1, the square-root rule 1/2.

    >>> round(exponent([8, 32, 128], [0.1, 0.2, 0.4]), 6)
    0.5
    """
    return float(np.polyfit(np.log(batches), np.log(rates), 1)[0])


def batch_to_train_with(batches: Sequence[int], steps: Sequence[float], critical: float) -> int:
    """Return the batch size for ``retrain.batch_size=auto``.

    The power of two nearest to the critical batch size, of those that were studied and reached the goal, and the next
    smaller ones until the samples to the goal (steps x batch) are at most twice the fewest: at the critical batch size
    itself they would be just that.

    >>> batch_to_train_with([8, 16, 32, 64], [110, 60, 35, 22.5], critical=80.0)
    64
    >>> batch_to_train_with([8, 16, 32, 64], [25, 17.5, 14, 13], critical=20.0)
    16
    """
    samples = {b: b * s for b, s in zip(batches, steps, strict=True) if math.isfinite(s)}
    fewest = min(samples.values())
    nearest = min(samples, key=lambda b: (abs(math.log2(b / critical)), b))
    return max(b for b in samples if (b <= nearest and samples[b] <= ALLOWED * fewest) or samples[b] == fewest)


def _drawn(found: BatchStudy, order: Sequence[Entry], rng: np.random.Generator) -> tuple[float, float]:
    """Return the steps to the goal of one draw of the trials, best first in ``order``, and the rate that took them."""
    drawn = set(rng.integers(len(found.trials), size=len(found.trials)).tolist())
    figures = []
    for entry in [entry for entry in order if entry.key.number in drawn][:BEST]:
        repeats: Sequence[Entry] = found.repeats.get(entry.key.number, (entry,))
        steps = [repeats[k].ran.to_goal for k in rng.integers(len(repeats), size=len(repeats))]
        figures.append((statistics.median_high(steps), entry.config.rate))
    return min(figures, default=(math.inf, math.nan))


def _corrected(values: Sequence[float], seen: float) -> tuple[float, float]:
    """Return percentiles corrected for bias (Efron 1981): the best of drawn trials is worse than the best of all.

    Args:
        values: one a draw.
        seen: the same of the trials as they are.
    """
    below = float(np.mean([0.5 * (value < seen) + 0.5 * (value <= seen) for value in values]))
    shift = 2 * norm.ppf(min(max(below, 1 / len(values)), 1 - 1 / len(values)))
    low, high = np.percentile(values, [100 * norm.cdf(shift + norm.ppf(p / 100)) for p in INTERVAL])
    return float(low), float(high)


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.percentile(values, INTERVAL, method="nearest")
    return float(low), float(high)
