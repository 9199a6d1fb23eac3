"""Thresholds of gates from logits on held-out samples: for a recall target, or for a share that leaves."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def largest_threshold(logit: Tensor, positive: Tensor, recall: float) -> float:
    """Return the largest theta for which at least ``recall`` of the positives have ``logit > theta``.

    Sorted from the top, ceil(recall x positives) of them have to pass, and theta lies below the last of these. It lies
    halfway to the next smaller logit of any sample, so that rounding in an exported artifact has the widest margin.

    Args:
        logit: [N] held-out logits.
        positive: [N] boolean.
        recall: in (0, 1].

    >>> z = torch.tensor([-3.0, -1.0, 0.0, 2.0, 4.0])
    >>> largest_threshold(z, torch.tensor([False, False, True, True, True]), 1.0)
    -0.5
    >>> largest_threshold(z, torch.tensor([False, False, True, True, True]), 0.6)
    1.0
    """
    passing = torch.sort(logit[positive], descending=True).values
    if len(passing) == 0:
        return -math.inf
    last = passing[max(1, math.ceil(recall * len(passing) - 1e-9)) - 1]
    below = logit[logit < last]
    margin = (last - below.max()) / 2 if len(below) else torch.ones_like(last)
    # Between neighbouring floats the middle rounds to one of them, and that must not be the positive itself.
    return float(torch.minimum(last - margin, torch.nextafter(last, torch.full_like(last, -math.inf))))


def threshold_of_share(logit: Tensor, share: float) -> float:
    """Return theta such that the share of samples with ``logit <= theta`` is as near ``share`` as can be.

    It lies halfway between two logits that differ, so that equal ones stay together.

    Args:
        logit: [N] held-out logits.
        share: in (0, 1).

    >>> threshold_of_share(torch.tensor([4.0, 1.0, 2.0, 3.0]), 0.5)
    2.5
    >>> threshold_of_share(torch.tensor([1.0, 1.0, 1.0, 3.0]), 0.5)
    2.0
    """
    if len(logit) == 0:
        return -math.inf
    values, counts = logit.detach().double().unique(return_counts=True)
    below = counts.cumsum(0) / len(logit)
    if 0.5 * float(below[0]) > share:  # nearer to none than to the first
        return float(values[0]) - 1
    at = int((below - share).abs().argmin())
    return float((values[at] + values[at + 1]) / 2) if at + 1 < len(values) else float(values[at]) + 1


def weighted_quantile(values: Tensor, weight: Tensor, share: float) -> Tensor:
    """Return the least value up to which a share of the weight lies, a scalar.

    >>> weighted_quantile(torch.tensor([3.0, 1.0, 2.0]), torch.tensor([1.0, 1.0, 2.0]), 0.7).item()
    2.0
    """
    order = values.argsort()
    reached = weight[order].cumsum(0)
    at = int(torch.searchsorted(reached, share * reached[-1]))
    return values[order[min(at, len(order) - 1)]]
