"""Thresholds of gates, computed from logits on held-out samples.

A threshold lets a target share of positives pass, or a target share of all samples leave. It lies halfway between the
logits of two samples. Logits are rounded differently on other processors, in other batch sizes and in other number
formats. With a threshold between two logits, these differences rarely change a decision.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gatesearch.errors import UserError


def largest_threshold(logit: Tensor, positive: Tensor, recall: float) -> float:
    """Return a threshold theta with which a share ``recall`` of the positives passes, and as few others as possible.

    A sample passes if ``logit > theta``. At least ceil(recall x number of positives) positives have to pass: those with
    the largest logits. Theta lies halfway between the smallest of their logits and the next smaller logit of any
    sample. Without positives, theta is -inf, so that every sample passes.

    Args:
        logit: held-out logits, [N].
        positive: whether each sample is a positive, [N].
        recall: share of positives that must pass, in (0, 1].

    Raises:
        UserError: a logit is not finite.

    >>> z = torch.tensor([-3.0, -1.0, 0.0, 2.0, 4.0])
    >>> largest_threshold(z, torch.tensor([False, False, True, True, True]), 1.0)
    -0.5
    >>> largest_threshold(z, torch.tensor([False, False, True, True, True]), 0.6)
    1.0
    """
    check_logits(logit)
    passing = torch.sort(logit[positive], descending=True).values
    if len(passing) == 0:
        return -math.inf
    last = passing[max(1, math.ceil(recall * len(passing) - 1e-9)) - 1]
    below = logit[logit < last]
    return _below(last) if len(below) == 0 else _halfway(below.max(), last)


def threshold_of_share(logit: Tensor, share: float) -> float:
    """Return the threshold theta at which the share of samples with ``logit <= theta`` is nearest to ``share``.

    Theta lies halfway between two different logits, so that samples with equal logits are treated alike. Without
    samples, theta is -inf, so that every sample passes.

    Args:
        logit: held-out logits, [N].
        share: share of samples that should leave, in (0, 1).

    Raises:
        UserError: a logit is not finite.

    >>> threshold_of_share(torch.tensor([4.0, 1.0, 2.0, 3.0]), 0.5)
    2.5
    >>> threshold_of_share(torch.tensor([1.0, 1.0, 1.0, 3.0]), 0.5)
    2.0
    """
    check_logits(logit)
    if len(logit) == 0:
        return -math.inf
    values, counts = logit.detach().unique(return_counts=True)
    below = counts.cumsum(0) / len(logit)
    if 0.5 * float(below[0]) > share:  # stopping no sample is nearer to the share than stopping the smallest logits
        return _below(values[0])
    index = int((below - share).abs().argmin())
    if index + 1 == len(values):
        return -_below(-values[index])
    return _halfway(values[index], values[index + 1])


def check_logits(logit: Tensor) -> None:
    """Check that all logits are finite, so that a threshold can be chosen.

    Raises:
        UserError: a logit is infinite or not a number, for example after a training that diverged.
    """
    wrong = int((~torch.isfinite(logit)).sum())
    if wrong:
        raise UserError(
            f"calibration: {wrong} of {logit.numel()} logits are not finite, so no threshold can be chosen; "
            "the training diverged, or the data hold values that are not finite"
        )


def _halfway(low: Tensor, high: Tensor) -> float:
    """Return the middle of two logits, below ``high``; ``low`` where no float of their precision lies between them."""
    middle = high - (high - low) / 2
    if not bool(middle.isfinite()):  # the difference of two large logits overflows
        middle = high / 2 + low / 2
    return float(torch.clamp(middle, low, torch.nextafter(high, low)))


def _below(value: Tensor) -> float:
    """Return a threshold below ``value``: lower by 1, or by one step of the float format if that is more than 1."""
    return float(torch.minimum(value - 1, torch.nextafter(value, torch.full_like(value, -math.inf))))


def weighted_quantile(values: Tensor, weight: Tensor, share: float) -> Tensor:
    """Return the smallest value v for which the values up to v have at least ``share`` of the total weight, a scalar.

    Raises:
        ValueError: there is no value, or no weight is above 0.

    >>> weighted_quantile(torch.tensor([3.0, 1.0, 2.0]), torch.tensor([1.0, 1.0, 2.0]), 0.7).item()
    2.0
    """
    order = values.argsort()
    reached = weight[order].cumsum(0)
    if len(order) == 0 or not bool(reached[-1] > 0):
        raise ValueError(f"a quantile of {len(order)} values needs a value with a weight above 0")
    at = int(torch.searchsorted(reached, share * reached[-1]))
    return values[order[min(at, len(order) - 1)]]
