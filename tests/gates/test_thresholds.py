"""Tests of gate thresholds from logits: the recall target, the share that stops, ties, rounding and unusable logits."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from gatesearch.errors import UserError
from gatesearch.gates.thresholds import largest_threshold, threshold_of_share, weighted_quantile

recalls = st.floats(1e-3, 1.0) | st.sampled_from([0.5, 0.9, 0.97, 0.99, 1.0])
logits = st.floats(-1e6, 1e6, width=32) | st.integers(-3, 3).map(float)  # integers make ties
samples = st.lists(st.tuples(logits, st.booleans()), min_size=1, max_size=60)


def split_pairs(pairs: list[tuple[float, bool]]) -> tuple[Tensor, Tensor]:
    return torch.tensor([logit for logit, _ in pairs]), torch.tensor([positive for _, positive in pairs])


def count_passing_positives(logit: Tensor, positive: Tensor, theta: float) -> int:
    buffer = torch.tensor(-math.inf).fill_(theta)  # single precision, as in the gate
    return int((logit > buffer)[positive].sum())


@given(samples, recalls)
def test_the_recall_of_the_logits_meets_the_target(pairs, recall):
    logit, positive = split_pairs(pairs)
    assume(positive.any())
    theta = largest_threshold(logit, positive, recall)
    assert count_passing_positives(logit, positive, theta) >= recall * int(positive.sum()) - 1e-6


@given(samples, recalls)
def test_every_larger_threshold_misses_the_target(pairs, recall):
    logit, positive = split_pairs(pairs)
    assume(positive.any())
    theta = torch.tensor(largest_threshold(logit, positive, recall))
    stopped = logit <= theta
    needed = recall * int(positive.sum()) - 1e-9
    for candidate in logit[~stopped]:
        assert int((logit > candidate)[positive].sum()) < needed


@given(st.lists(st.booleans(), min_size=1, max_size=20), logits, recalls)
def test_equal_logits_all_pass(flags, value, recall):
    positive = torch.tensor(flags)
    logit = torch.full((len(flags),), value)
    assert (logit > torch.tensor(largest_threshold(logit, positive, recall))).all()


@given(st.lists(logits, max_size=20), recalls)
def test_negatives_alone_all_pass(values, recall):
    logit = torch.tensor(values)
    assert largest_threshold(logit, torch.zeros(len(values), dtype=torch.bool), recall) == -math.inf


@given(logits)
def test_a_threshold_separates_neighbouring_floats(value):
    low = torch.tensor(value)
    high = torch.nextafter(low, torch.tensor(math.inf))
    theta = torch.tensor(largest_threshold(torch.stack([low, high]), torch.tensor([False, True]), 1.0))
    assert high > theta >= low


@pytest.mark.parametrize(("recall", "passing"), [(1.0, 10), (0.95, 10), (0.9, 9), (0.3, 3), (0.01, 1)])
def test_the_least_count_that_meets_the_recall_passes(recall, passing):
    logit = torch.arange(10.0)
    positive = torch.ones(10, dtype=torch.bool)
    assert count_passing_positives(logit, positive, largest_threshold(logit, positive, recall)) == passing


def test_the_threshold_lies_halfway_to_the_next_logit_of_either_class():
    logit = torch.tensor([0.0, 1.0, 4.0])
    assert largest_threshold(logit, torch.tensor([True, False, True]), 0.5) == 2.5
    assert largest_threshold(logit, torch.tensor([False, True, True]), 1.0) == 0.5


distinct_logits = st.lists(st.floats(-(2.0**127), 2.0**127, width=32), min_size=1, max_size=40, unique=True)


def lies_between_logits(theta: float, logit: Tensor) -> bool:
    """Say whether a threshold equals no logit; it may equal one if no float lies between this logit and the next."""
    single = torch.tensor(theta)
    return bool((logit != single).all()) or bool((logit == torch.nextafter(single, torch.tensor(math.inf))).any())


@given(distinct_logits, st.data(), recalls)
def test_a_threshold_of_a_recall_lies_between_logits(values, data, recall):
    logit = torch.tensor(values)
    positive = torch.tensor(data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values))))
    assert lies_between_logits(largest_threshold(logit, positive, recall), logit)


@given(distinct_logits, st.floats(0.001, 0.999))
def test_a_threshold_of_a_share_lies_between_logits_and_stops_the_nearest_share(values, share):
    logit = torch.tensor(values)
    theta = torch.tensor(threshold_of_share(logit, share))
    assert lies_between_logits(float(theta), logit)
    stopped = int((logit <= theta).sum())
    errors = [abs(k / len(values) - share) for k in range(len(values) + 1)]
    assert errors[stopped] <= min(errors) + 1e-6


@pytest.mark.parametrize("value", [0.0, 1.0, -1e10, 3e38])
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_single_sample_passes_where_the_share_is_below_half(value, share):
    theta = torch.tensor(threshold_of_share(torch.tensor([value]), share))
    assert bool(torch.tensor(value) > theta) is (share < 0.5)
    assert torch.tensor(value) > torch.tensor(largest_threshold(torch.tensor([value]), torch.tensor([True]), 0.9))


def test_an_empty_split_gives_a_threshold_that_stops_nothing():
    assert threshold_of_share(torch.zeros(0), 0.5) == -math.inf
    assert largest_threshold(torch.zeros(0), torch.zeros(0, dtype=torch.bool), 0.9) == -math.inf


@given(st.lists(logits, min_size=1, max_size=9), st.data(), st.sampled_from([math.nan, math.inf, -math.inf]))
def test_thresholds_refuse_logits_that_are_not_finite(values, data, value):
    logit = torch.tensor(values)
    logit[data.draw(st.integers(0, len(values) - 1))] = value
    for choose_threshold in (
        lambda: largest_threshold(logit, torch.ones(len(logit), dtype=torch.bool), 0.9),
        lambda: threshold_of_share(logit, 0.5),
    ):
        with pytest.raises(UserError, match=rf"calibration: 1 of {len(values)} logits are not finite"):
            choose_threshold()


def test_a_quantile_refuses_values_without_weight():
    for values, weight in ((torch.zeros(0), torch.zeros(0)), (torch.ones(2), torch.zeros(2))):
        with pytest.raises(ValueError, match="needs a value with a weight above 0"):
            weighted_quantile(values, weight, 0.5)
