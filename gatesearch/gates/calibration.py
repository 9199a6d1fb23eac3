"""Thresholds: as high as the recall target allows."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def largest_threshold(logit: Tensor, positive: Tensor, recall: float) -> float:
    """Return the largest theta for which at least ``recall`` of the positives have ``logit > theta``.

    The threshold lies halfway between the last positive that passes and the next smaller logit of any sample, so that
    rounding of an exported artifact has the widest berth.

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
    berth = (last - below.max()) / 2 if len(below) else torch.ones_like(last)
    # Between neighbouring floats the middle rounds to one of them, and that must not be the positive itself.
    return float(torch.minimum(last - berth, torch.nextafter(last, torch.full_like(last, -math.inf))))
