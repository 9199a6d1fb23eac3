"""Number formats and memory layouts of tensors."""

from __future__ import annotations

import torch
from torch import Tensor


def to_float(inputs: Tensor) -> Tensor:
    """Return inputs as float32: integers are divided by their full scale, floats keep their values.

    >>> to_float(torch.tensor([-32768, 0, 16384], dtype=torch.int16)).tolist()
    [-1.0, 0.0, 0.5]
    """
    if inputs.is_floating_point():
        return inputs.float()
    return inputs.to(torch.float32) / (torch.iinfo(inputs.dtype).max + 1)


def channels_last(features: Tensor) -> Tensor:
    """Return images [N, C, H, W] in channels-last memory order, anything else as it is."""
    return features.contiguous(memory_format=torch.channels_last) if features.ndim == 4 else features
