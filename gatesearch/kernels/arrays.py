"""Helpers for the numpy arrays that C kernels read and write: checks of type, shape and layout, and padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from gatesearch.errors import DataError
from gatesearch.gates import BLOCK

Array = npt.NDArray[Any]
LINE = 64  # bytes of a cache line


def check_array(value: Any, what: str, dtype: Any, shape: Sequence[int | None]) -> Array:
    """Return a numpy array over the memory of an array or a tensor.

    Args:
        value: numpy array or torch tensor on the CPU.
        what: the name of the value in messages.
        dtype: the required type.
        shape: the required sizes; None allows any size.

    Raises:
        ValueError: the type, the shape or the memory layout differs.

    >>> check_array(np.zeros((2, 3), np.float32).T, "x", np.float32, (3, 2))
    Traceback (most recent call last):
        ...
    ValueError: x is not contiguous: strides (4, 12) of shape (3, 2)
    """
    array = value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    if array.dtype != dtype:
        raise ValueError(f"{what} is {array.dtype}, not {np.dtype(dtype)}")
    if array.ndim != len(shape) or any(
        required not in (None, size) for required, size in zip(shape, array.shape, strict=True)
    ):
        expected = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{what} has shape {list(array.shape)}, not [{expected}]")
    if not array.flags.c_contiguous:
        raise ValueError(f"{what} is not contiguous: strides {array.strides} of shape {array.shape}")
    return array


def check_samples(samples: Array, what: str) -> Array:
    """Return samples of sound, int16 [n], in contiguous memory.

    Args:
        samples: the samples.
        what: the name of the samples in messages.

    Raises:
        DataError: the samples have another type or shape.
    """
    if samples.ndim != 1 or samples.dtype != np.int16:
        raise DataError(f"{what} are {samples.dtype} {list(samples.shape)}; wanted: int16 [n]")
    return np.ascontiguousarray(samples)


def match_type(value: Any, array: Array) -> Any:
    """Return ``array`` as a tensor if ``value`` is a tensor, else unchanged."""
    return torch.from_numpy(array) if isinstance(value, torch.Tensor) else array


def aligned_zeros(shape: int | Sequence[int], dtype: Any) -> Array:
    """Return an array of zeros whose memory begins on a cache line."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.zeros(size + LINE, np.uint8)
    first = -raw.ctypes.data % LINE
    return raw[first : first + size].view(dtype).reshape(shape)


def pad_to_blocks(values: Any, what: str, dtype: Any, channels: int, default: float) -> Array:
    """Return one value for each channel, followed by zeros up to a whole block of 16.

    Args:
        values: the values, [channels], of type ``dtype``; None gives every channel ``default``.
        what: the name of the values in messages.
        dtype: type of the values.
        channels: number of channels.
        default: value of every channel if ``values`` is None.
    """
    whole = aligned_zeros(-(-channels // BLOCK) * BLOCK, dtype)
    whole[:channels] = default if values is None else check_array(values, what, dtype, (channels,))
    return whole


def active_blocks(active: Any, what: str, channels: int) -> Array | None:
    """Return the indices of active blocks of 16 channels as an int32 array for C; None, which means all, stays None.

    Raises:
        ValueError: the indices are not ascending, or one is out of range.
    """
    if active is None:
        return None
    array = np.ascontiguousarray(active, np.int32)
    count = -(-channels // BLOCK)
    if array.ndim != 1 or (np.diff(array) <= 0).any() or (len(array) and not 0 <= array[0] <= array[-1] < count):
        raise ValueError(f"{what} are not ascending indices below {count}: {array.tolist()}")
    return array


def block_count(active: Array | None) -> int:
    """Return the number of active blocks as an argument for C; for None (all blocks) return 0, which C ignores."""
    return 0 if active is None else len(active)


def channel_mask(active: Array | None, channels: int) -> Array:
    """Return for each channel whether its block is active, boolean [channels]."""
    if active is None:
        return np.ones(channels, bool)
    return np.isin(np.arange(channels) // BLOCK, active)


def address(array: Array | None) -> int | None:
    """Return the address of an array's memory; for None return None, which C reads as NULL."""
    return None if array is None else array.ctypes.data
