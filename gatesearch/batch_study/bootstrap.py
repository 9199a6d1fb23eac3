"""Computes confidence intervals of a batch-size study by bootstrap: its trials are drawn again, many times."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from gatesearch.batch_study.findings import BatchStudy, rank_trials
from gatesearch.batch_study.journal import Entry
from gatesearch.batch_study.study import BEST_COUNT
from gatesearch.batch_study.trade_off import fit_trade_off, rate_exponent, steps_to_goal

DRAWS = 1000
PERCENTILES = (5.0, 95.0)

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """Intervals of 90 %, from many draws of the trials and of their repeats.

    Args:
        steps: low and high bound of the steps to the goal for each batch size; infinite where the draws did not reach
            the goal.
        critical_batch: low and high bound of the critical batch size, corrected for bias; None without a fit.
        exponent: low and high bound of p in the power law "best effective learning rate ~ batch size^p", corrected for
            bias; None without a fit.
    """

    steps: tuple[Interval, ...]
    critical_batch: Interval | None
    exponent: Interval | None


def bootstrap(studies: Sequence[BatchStudy], seed: int) -> Bootstrap:
    """Draw the trials of every batch size again with replacement, many times, and return intervals of the results.

    In each draw, each of the best drawn trials has a median number of steps to the goal. The median is over the
    repeated trainings of the trial, which are also drawn again. The least of these medians is the result of the draw.
    A trial without repeats counts with its own steps.
    """
    rng = np.random.default_rng(seed)
    steps = np.full((DRAWS, len(studies)), math.inf)
    critical_batches, exponents = [], []
    rankings = [rank_trials(study.trials) for study in studies]
    for draw in steps:
        rates = []
        for k, (study, ranking) in enumerate(zip(studies, rankings, strict=True)):
            draw[k], rate = _redraw(study, ranking, rng)
            rates.append(rate)
        reached = [k for k in range(len(studies)) if math.isfinite(draw[k])]
        batches = [studies[k].batch for k in reached]
        fit = fit_trade_off(batches, draw[reached].tolist())
        if fit is not None:
            critical_batches.append(fit.critical_batch)
            exponents.append(rate_exponent(batches, [rates[k] for k in reached]))
    intervals = tuple(_percentile_interval(steps[:, k]) for k in range(len(studies)))
    reaching = [study for study in studies if math.isfinite(steps_to_goal(study))]
    batches = [study.batch for study in reaching]
    original = fit_trade_off(batches, [steps_to_goal(study) for study in reaching])
    if original is None or not critical_batches:
        return Bootstrap(steps=intervals, critical_batch=None, exponent=None)
    original_exponent = rate_exponent(batches, [study.best.rate for study in reaching if study.best is not None])
    return Bootstrap(
        steps=intervals,
        critical_batch=_corrected_interval(critical_batches, original.critical_batch),
        exponent=_corrected_interval(exponents, original_exponent),
    )


def _redraw(study: BatchStudy, ranking: Sequence[Entry], rng: np.random.Generator) -> tuple[float, float]:
    """Return the steps to the goal in one draw of the trials, and the learning rate of the trial with these steps.

    ``ranking`` holds the trials of the study that reached the goal, best first.
    """
    drawn = set(rng.integers(len(study.trials), size=len(study.trials)).tolist())
    best = [entry for entry in ranking if entry.key.number in drawn][:BEST_COUNT]
    candidates = []
    for entry in best:
        repeats: Sequence[Entry] = study.repeats.get(entry.key.number, (entry,))
        steps = [repeats[k].result.steps_to_goal for k in rng.integers(len(repeats), size=len(repeats))]
        candidates.append((statistics.median_high(steps), entry.config.rate))
    return min(candidates, default=(math.inf, math.nan))


def _corrected_interval(values: Sequence[float], original: float) -> Interval:
    """Return the bias-corrected percentile interval of a figure.

    The method is that of Efron 1981, "Nonparametric standard errors and confidence intervals". It is needed because the
    best of the drawn trials is often worse than the best of all trials, so most draws lie on one side of ``original``.

    Phi is the distribution function of the standard normal distribution, z_p its quantile at a share p, and z0 its
    quantile at the share of draws below ``original``. The bounds, for p = 0.05 and p = 0.95, are the percentiles
    Phi(2 z0 + z_p) of the draws. If half of the draws lie below ``original``, z0 is 0, and these percentiles are p.

    Args:
        values: the figure of each draw.
        original: the figure of the trials that were run.
    """
    # Share of the draws below the figure; a draw equal to the figure counts half.
    below = float(np.mean([0.5 * (value < original) + 0.5 * (value <= original) for value in values]))
    below = min(max(below, 1 / len(values)), 1 - 1 / len(values))  # keeps the quantile finite
    shift = 2 * norm.ppf(below)
    low, high = np.percentile(values, [100 * norm.cdf(shift + norm.ppf(p / 100)) for p in PERCENTILES])
    return float(low), float(high)


def _percentile_interval(values: NDArray[np.float64]) -> Interval:
    low, high = np.percentile(values, PERCENTILES, method="nearest")
    return float(low), float(high)
