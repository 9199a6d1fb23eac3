"""How features lie in memory."""

from __future__ import annotations

import torch
from torch import Tensor


def channels_last(features: Tensor) -> Tensor:
    """Return images [N, C, H, W] in channels-last memory order, anything else as it is."""
    return features.contiguous(memory_format=torch.channels_last) if features.ndim == 4 else features
