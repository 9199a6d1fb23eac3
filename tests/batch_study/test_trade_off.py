"""Tests of the trade-off between steps and batch size: fit, regimes and uncertainty."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatesearch.batch_study.bootstrap import bootstrap
from gatesearch.batch_study.config import Config
from gatesearch.batch_study.findings import BatchStudy
from gatesearch.batch_study.journal import Entry, Key
from gatesearch.batch_study.trade_off import (
    TradeOff,
    choose_batch,
    fit_trade_off,
    local_slopes,
    name_regime,
    steps_to_goal,
)
from gatesearch.batch_study.training import TrainingResult

BATCHES = [2**k for k in range(3, 12)]


def entry(batch: int, number: int, steps: float, repeat: int = 0) -> Entry:
    reached = math.isfinite(steps)
    result = TrainingResult("reached" if reached else "ended", int(steps) if reached else 999, ((1, 0.5),))
    config = Config(rate=0.1 * (number + 1), slack=0.1, decay=1.0, end=1.0)
    return Entry(key=Key("search", batch, number, repeat), config=config, result=result, seconds=0.0)


def study(batch: int, trials: Sequence[float], repeats: dict[int, Sequence[float]]) -> BatchStudy:
    return BatchStudy(
        batch=batch,
        budget=999,
        trials=tuple(entry(batch, number, steps) for number, steps in enumerate(trials)),
        repeats={n: tuple(entry(batch, n, s, 1 + k) for k, s in enumerate(steps)) for n, steps in repeats.items()},
    )


@given(st.floats(1.0, 1000.0), st.floats(16.0, 1024.0))
def test_the_fit_finds_the_hyperbola_that_made_the_points(least: float, critical: float) -> None:
    true = TradeOff(least, critical)
    fitted = fit_trade_off(BATCHES, [true.steps(batch) for batch in BATCHES])
    assert fitted is not None
    assert fitted.min_steps == pytest.approx(least, rel=0.01) and fitted.critical_batch == pytest.approx(
        critical, rel=0.01
    )
    steps, samples = fitted.steps(fitted.critical_batch), fitted.steps(fitted.critical_batch) * fitted.critical_batch
    assert (steps / least - 1) * (samples / (least * critical) - 1) == pytest.approx(1.0, rel=0.1)


def test_perfect_scaling_puts_the_critical_batch_size_beyond_the_studied_ones() -> None:
    perfect, flat = (fit_trade_off(BATCHES, [10_000 / b**p for b in BATCHES]) for p in (1, 0))
    assert perfect is not None and perfect.critical_batch > 10 * BATCHES[-1]
    assert flat is not None and flat.critical_batch < BATCHES[0] / 10


def test_two_points_give_no_fit() -> None:
    assert fit_trade_off([8, 16], [20, 10]) is None


def test_the_hyperbola_passes_through_three_regimes() -> None:
    true = TradeOff(10.0, 128.0)
    names = [name_regime(slope) for slope in local_slopes(BATCHES, [true.steps(batch) for batch in BATCHES])]
    assert names == ["perfect scaling"] * 1 + ["diminishing returns"] * 7 + ["maximal parallelism"]
    assert [name_regime(slope) for slope in (-0.9, -0.89, -0.1, -0.09)] == [
        "perfect scaling",
        "diminishing returns",
        "diminishing returns",
        "maximal parallelism",
    ]


def test_steps_are_the_smallest_median_over_repeats() -> None:
    assert steps_to_goal(study(8, [5, 6], {0: [50, 60, 70], 1: [55, 56, math.inf]})) == 56
    assert steps_to_goal(study(8, [5], {0: [5, math.inf, math.inf]})) == math.inf
    assert steps_to_goal(study(8, [math.inf], {})) == math.inf


def test_bootstrap_intervals_reflect_the_spread_of_the_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatesearch.batch_study.bootstrap.DRAWS", 300)
    true = TradeOff(50.0, 100.0)
    rng = np.random.default_rng(0)
    studies = []
    for batch in BATCHES:
        trials = [round(true.steps(batch) * factor) for factor in 1 + np.sort(rng.exponential(0.3, 20))]
        studies.append(study(batch, trials, {n: [trials[n]] * 3 for n in range(3)}))
    drawn = bootstrap(studies, 0)
    assert drawn == bootstrap(studies, 0) != bootstrap(studies, 1)
    assert drawn.critical_batch is not None and drawn.critical_batch[0] < 100 < drawn.critical_batch[1] < 200
    for each, (low, high) in zip(studies, drawn.steps, strict=True):
        # No draw is better than the best trial, and few draws lack the best trials.
        assert low == steps_to_goal(each) <= high < each.trials[6].result.steps


def test_batch_sizes_that_rarely_reach_the_goal_have_no_upper_bound() -> None:
    lucky = study(8, [40, *[math.inf] * 19], {0: [40, 41, 42]})
    drawn = bootstrap([lucky, *[study(b, [9] * 20, {0: [9] * 3}) for b in (16, 32)]], 0)
    assert drawn.steps[0] == (40.0, math.inf)
    assert drawn.critical_batch is not None  # from the draws in which three batch sizes have finite steps


@pytest.mark.parametrize(
    ("steps", "critical", "expected"),
    [
        ([1000, 500, 250, 125], 1e5, 64),  # perfect scaling: the largest size
        ([10, 10, 10, 10], 0.1, 8),  # maximal parallelism: the smallest size
        ([110, 60, 35, 22.5], 33.0, 32),
        ([110, 60, 70, 22.5], 33.0, 16),  # batch size 32 needs more than twice the samples
        ([math.inf, 60, 35, math.inf], 200.0, 32),  # a size that did not reach the goal is never chosen
    ],
)
def test_the_studied_batch_size_that_fits_the_critical_one_is_chosen(
    steps: list[float], critical: float, expected: int
) -> None:
    assert choose_batch([8, 16, 32, 64], steps, critical) == expected
