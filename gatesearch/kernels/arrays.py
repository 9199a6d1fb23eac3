"""Arrays on their way in and out of C: checked, and never copied in silence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from gatesearch.gates import BLOCK

Array = npt.NDArray[Any]
LINE = 64  # bytes of a cache line


def checked(value: Any, what: str, dtype: Any, shape: Sequence[int | None]) -> Array:
    """Return a numpy array over the memory of an array or a tensor.

    Args:
        value: numpy array or torch tensor on the CPU.
        what: its name in messages.
        dtype: that it must have.
        shape: that it must have; None is any size.

    Raises:
        ValueError: type, shape or layout is another.

    >>> checked(np.zeros((2, 3), np.float32).T, "x", np.float32, (3, 2))
    Traceback (most recent call last):
        ...
    ValueError: x is not contiguous: strides (4, 12) of shape (3, 2)
    """
    array = value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    if array.dtype != dtype:
        raise ValueError(f"{what} is {array.dtype}, not {np.dtype(dtype)}")
    if array.ndim != len(shape) or any(want not in (None, size) for want, size in zip(shape, array.shape, strict=True)):
        expected = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{what} has shape {list(array.shape)}, not [{expected}]")
    if not array.flags.c_contiguous:
        raise ValueError(f"{what} is not contiguous: strides {array.strides} of shape {array.shape}")
    return array


def like(value: Any, array: Array) -> Any:
    """Return a tensor over the array where ``value`` is one, else the array."""
    return torch.from_numpy(array) if isinstance(value, torch.Tensor) else array


def aligned(shape: int | Sequence[int], dtype: Any) -> Array:
    """Return an array of zeros that begins on a cache line."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.zeros(size + LINE, np.uint8)
    first = -raw.ctypes.data % LINE
    return raw[first : first + size].view(dtype).reshape(shape)


def padded(values: Any, what: str, dtype: Any, channels: int, default: float) -> Array:
    """Return one value for each channel, up to whole blocks; None is ``default`` for all."""
    whole = aligned(-(-channels // BLOCK) * BLOCK, dtype)
    whole[:channels] = default if values is None else checked(values, what, dtype, (channels,))
    return whole


def active_blocks(active: Any, what: str, channels: int) -> Array | None:
    """Return indices of active blocks of 16 channels as C wants them; None stands for all, and stays None.

    Raises:
        ValueError: they are not ascending, or one is out of range.
    """
    if active is None:
        return None
    array = np.ascontiguousarray(active, np.int32)
    count = -(-channels // BLOCK)
    if array.ndim != 1 or (np.diff(array) <= 0).any() or (len(array) and not 0 <= array[0] <= array[-1] < count):
        raise ValueError(f"{what} are not ascending indices below {count}: {array.tolist()}")
    return array


def block_count(active: Array | None) -> int:
    """Return how many active blocks a call is told of; 0 beside NULL, which stands for all."""
    return 0 if active is None else len(active)


def channel_mask(active: Array | None, channels: int) -> Array:
    """Return which channels the active blocks hold, boolean [channels]."""
    if active is None:
        return np.ones(channels, bool)
    return np.isin(np.arange(channels) // BLOCK, active)


def address(array: Array | None) -> int | None:
    """Return where an array's memory begins; None for NULL."""
    return None if array is None else array.ctypes.data
