"""Fake quantisation of features to int8.

Features cross between cores as int8. Front ends round to the same grid (scale 1/16, zero point 0; features have unit
variance), so training, export and inference see identical values.
"""

from __future__ import annotations

import torch
from torch import Tensor

FEATURE_SCALE = 1 / 16  # the value of one int8 step
INT8_MIN, INT8_MAX = -128, 127
FEATURE_RANGE = (INT8_MIN * FEATURE_SCALE, INT8_MAX * FEATURE_SCALE)  # the least and the largest feature


def fake_quantise(features: Tensor) -> Tensor:
    """Return features rounded to int8 steps, ties to even, and clamped to the int8 range, but still as floats.

    >>> fake_quantise(torch.tensor([0.05, 100.0])).tolist()
    [0.0625, 7.9375]
    >>> fake_quantise(torch.tensor([0.5, 1.5, 2.5]) * FEATURE_SCALE).tolist()
    [0.0, 0.125, 0.125]
    """
    return torch.round(features / FEATURE_SCALE).clamp(INT8_MIN, INT8_MAX) * FEATURE_SCALE
