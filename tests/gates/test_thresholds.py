from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from gatesearch.gates.thresholds import largest_threshold

recalls = st.floats(1e-3, 1.0) | st.sampled_from([0.5, 0.9, 0.97, 0.99, 1.0])
logits = st.floats(-1e6, 1e6, width=32) | st.integers(-3, 3).map(float)  # the latter for ties
samples = st.lists(st.tuples(logits, st.booleans()), min_size=1, max_size=60)


def tensors(pairs: list[tuple[float, bool]]) -> tuple[Tensor, Tensor]:
    return torch.tensor([z for z, _ in pairs]), torch.tensor([p for _, p in pairs])


def reached(logit: Tensor, positive: Tensor, theta: float) -> int:
    buffer = torch.tensor(-math.inf).fill_(theta)  # single precision, as the gate holds it
    return int((logit > buffer)[positive].sum())


@given(samples, recalls)
def test_the_recall_target_is_met_on_validation(pairs, recall):
    logit, positive = tensors(pairs)
    assume(positive.any())
    theta = largest_threshold(logit, positive, recall)
    assert reached(logit, positive, theta) >= recall * int(positive.sum()) - 1e-6


@given(samples, recalls)
def test_no_larger_threshold_stops_more_and_still_meets_the_target(pairs, recall):
    logit, positive = tensors(pairs)
    assume(positive.any())
    theta = torch.tensor(largest_threshold(logit, positive, recall))
    stopped = logit <= theta
    needed = recall * int(positive.sum()) - 1e-9
    for candidate in logit[~stopped]:
        assert int((logit > candidate)[positive].sum()) < needed


@given(st.lists(st.booleans(), min_size=1, max_size=20), logits, recalls)
def test_where_all_logits_are_equal_everything_passes(flags, value, recall):
    positive = torch.tensor(flags)
    logit = torch.full((len(flags),), value)
    assert (logit > torch.tensor(largest_threshold(logit, positive, recall))).all()


@given(st.lists(logits, max_size=20), recalls)
def test_without_positives_nothing_is_stopped(values, recall):
    logit = torch.tensor(values)
    assert largest_threshold(logit, torch.zeros(len(values), dtype=torch.bool), recall) == -math.inf


@given(logits)
def test_neighbouring_floats_are_told_apart(value):
    low = torch.tensor(value)
    high = torch.nextafter(low, torch.tensor(math.inf))
    theta = torch.tensor(largest_threshold(torch.stack([low, high]), torch.tensor([False, True]), 1.0))
    assert high > theta >= low


@pytest.mark.parametrize(("recall", "passing"), [(1.0, 10), (0.95, 10), (0.9, 9), (0.3, 3), (0.01, 1)])
def test_the_count_that_passes_is_rounded_up_and_no_more(recall, passing):
    logit = torch.arange(10.0)
    positive = torch.ones(10, dtype=torch.bool)
    assert reached(logit, positive, largest_threshold(logit, positive, recall)) == passing


def test_the_threshold_lies_halfway_to_the_next_sample_of_either_class():
    logit = torch.tensor([0.0, 1.0, 4.0])
    assert largest_threshold(logit, torch.tensor([True, False, True]), 0.5) == 2.5
    assert largest_threshold(logit, torch.tensor([False, True, True]), 1.0) == 0.5
