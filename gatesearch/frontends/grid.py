"""Fake quantisation of features: rounds them to values that int8 can represent, but keeps them as floats.

Features cross between cores as int8. Features have unit variance, and front ends round them to multiples of 1/16 (zero
point 0). So training, export and inference read identical values.
"""

from __future__ import annotations

import torch
from torch import Tensor

FEATURE_SCALE = 1 / 16  # the difference of two neighbouring int8 values
INT8_MIN, INT8_MAX = -128, 127
FEATURE_RANGE = (INT8_MIN * FEATURE_SCALE, INT8_MAX * FEATURE_SCALE)  # the smallest and the largest feature


def fake_quantise(features: Tensor) -> Tensor:
    """Return features rounded to multiples of :data:`FEATURE_SCALE`, ties to even, and clamped to the int8 range.

    >>> fake_quantise(torch.tensor([0.05, 100.0])).tolist()
    [0.0625, 7.9375]
    >>> fake_quantise(torch.tensor([0.5, 1.5, 2.5]) * FEATURE_SCALE).tolist()
    [0.0, 0.125, 0.125]
    """
    return torch.round(features / FEATURE_SCALE).clamp(INT8_MIN, INT8_MAX) * FEATURE_SCALE
