"""Converts number formats and memory layouts of tensors, and computes digests of tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
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


def to_int16(inputs: Tensor) -> Tensor:
    """Return inputs as int16 of the same full scale, rounded and clamped; the full scale of floats is 1.

    >>> to_int16(torch.tensor([-1.0, 0.5, 1.0])).tolist(), to_int16(torch.tensor([3], dtype=torch.int16)).tolist()
    ([-32768, 16384, 32767], [3])
    """
    if inputs.dtype == torch.int16:
        return inputs
    return (to_float(inputs) * 32768).round().clamp(-32768, 32767).to(torch.int16)


def channels_last(features: Tensor) -> Tensor:
    """Return images [N, C, H, W] in channels-last memory order; other tensors as they are."""
    return features.contiguous(memory_format=torch.channels_last) if features.ndim == 4 else features


def find_finite(values: Tensor) -> Tensor:
    """Return whether all values of each sample are finite, [N, ...] -> boolean [N].

    >>> find_finite(torch.tensor([[0.0, 1.0], [float("nan"), 1.0], [1.0, float("inf")]])).tolist()
    [True, False, False]
    """
    if not values.is_floating_point() or not values.numel():
        return torch.ones(len(values), dtype=torch.bool)
    # The bounds of a sample are not finite if one of its values is not. On a CPU this takes a twentieth of the time of
    # torch.isfinite, which writes several tensors of the size of its input.
    low, high = values.reshape(len(values), -1).aminmax(dim=1)
    return low.isfinite() & high.isfinite()


def digest_tensors(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """Return the sha256 of tensors, over their names, types, shapes and values; a name may be empty.

    >>> zeros, ones = torch.zeros(2), torch.ones(2)
    >>> digest_tensors([("a", zeros)]) == digest_tensors([("a", ones)])
    False
    >>> digest_tensors([("a", zeros)]) == digest_tensors([("b", zeros)])
    False
    """
    total = hashlib.sha256()
    for name, tensor in tensors:
        values = np.ascontiguousarray(tensor.detach().cpu().numpy())
        total.update(f"{name} {values.dtype} {values.shape}".lstrip().encode())
        total.update(values.reshape(-1).view(np.uint8).data)
    return total.hexdigest()
