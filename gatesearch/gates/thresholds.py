"""Thresholds of gates from logits on held-out samples: for a recall target, or for a share that leaves.

A threshold stands halfway between the logits of two samples, never on one: rounding on another processor, in another
batch or number format then decides none of them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gatesearch.errors import UserError


def largest_threshold(logit: Tensor, positive: Tensor, recall: float) -> float:
    """Return the largest theta for which at least ``recall`` of the positives have ``logit > theta``.

    Sorted from the top, ceil(recall x positives) of them have to pass, and theta lies halfway between the last of these
    and the next smaller logit of any sample. Without positives it is -inf, so that every sample passes.

    Args:
        logit: [N] held-out logits.
        positive: [N] boolean.
        recall: in (0, 1].

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
    """Return theta such that the share of samples with ``logit <= theta`` is as near ``share`` as can be.

    It lies halfway between two logits that differ, so that equal ones stay together. Without samples it is -inf, and
    every sample passes.

    Args:
        logit: [N] held-out logits.
        share: in (0, 1).

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
    if 0.5 * float(below[0]) > share:  # nearer to none than to the first
        return _below(values[0])
    index = int((below - share).abs().argmin())
    if index + 1 == len(values):
        return -_below(-values[index])
    return _halfway(values[index], values[index + 1])


def check_logits(logit: Tensor) -> None:
    """Check that a threshold can be chosen among the logits.

    Raises:
        UserError: one is infinite or not a number, as after a training that diverged.
    """
    wrong = int((~torch.isfinite(logit)).sum())
    if wrong:
        raise UserError(
            f"calibration: {wrong} of {logit.numel()} logits are not finite, so no threshold can be chosen; "
            "the training diverged, or the data hold values that are not finite"
        )


def _halfway(low: Tensor, high: Tensor) -> float:
    """Return the middle of two logits; ``low`` where no float of their precision lies between."""
    middle = high - (high - low) / 2
    if not bool(middle.isfinite()):  # the difference of two large logits is no float
        middle = high / 2 + low / 2
    return float(torch.clamp(middle, low, torch.nextafter(high, low)))


def _below(value: Tensor) -> float:
    """Return a threshold that the least of all logits exceeds, by 1 or by one step of its precision."""
    return float(torch.minimum(value - 1, torch.nextafter(value, torch.full_like(value, -math.inf))))


def weighted_quantile(values: Tensor, weight: Tensor, share: float) -> Tensor:
    """Return the least value up to which a share of the weight lies, a scalar.

    Raises:
        ValueError: there is no value, or no weight above 0.

    >>> weighted_quantile(torch.tensor([3.0, 1.0, 2.0]), torch.tensor([1.0, 1.0, 2.0]), 0.7).item()
    2.0
    """
    order = values.argsort()
    reached = weight[order].cumsum(0)
    if len(order) == 0 or not bool(reached[-1] > 0):
        raise ValueError(f"a quantile of {len(order)} values needs a value with a weight above 0")
    at = int(torch.searchsorted(reached, share * reached[-1]))
    return values[order[min(at, len(order) - 1)]]
