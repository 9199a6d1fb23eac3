"""Integer logarithm and square root with the same result, bit for bit, in NumPy, PyTorch and C.

The functions take int64 arrays of NumPy or of PyTorch. They use shifts, comparisons, sums and one small table. Results
in float depend on the processor and on the order of a sum; integer results do not.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]
Whole = TypeVar("Whole", Array, Tensor)

LOG_BITS = 8  # a logarithm is in units of 1/256 of an octave
LOG_ONE = 1 << LOG_BITS
INDEX_BITS = 7  # number of bits after the leading 1 of a value that select an entry of the table
LOG_ERROR = 0.0076  # largest error in octaves: 0.0056 from half an entry's width, 0.00195 from rounding an entry
# Each entry is the logarithm of the middle of the mantissas that share it.
_MIDDLES = (np.arange(1 << INDEX_BITS) + 0.5) / (1 << INDEX_BITS)
LOG_TABLE = np.round(LOG_ONE * np.log2(1 + _MIDDLES)).astype(np.int64)
MAX_ROOT_BITS = 31


def constant(values: Array, like: Whole) -> Whole:
    """Return a NumPy array as an array of the library of ``like``.

    >>> constant(np.array([1, 2]), torch.zeros(3))
    tensor([1, 2])
    """
    return torch.from_numpy(values).to(like.device) if isinstance(like, Tensor) else values


def widen(values: Whole) -> Whole:
    """Return integers as int64, in which sums of int16 values do not overflow."""
    return values.to(torch.int64) if isinstance(values, Tensor) else values.astype(np.int64)


def log2(values: Whole) -> Whole:
    """Return 256 times the binary logarithm of positive integers, within :data:`LOG_ERROR` octaves.

    A binary search finds the exponent in six comparisons and shifts; a device can count leading zeros instead. The
    seven bits after the leading 1 select one of 128 entries of a table.

    Args:
        values: int64, from 1 to below 2^62.

    >>> log2(np.array([1, 2, 1000])) / 256
    array([3.90625000e-03, 1.00390625e+00, 9.96875000e+00])
    """
    exponent = values * 0
    rest = values
    for step in (32, 16, 8, 4, 2, 1):
        shift = ((rest >> step) > 0) * step
        exponent = exponent + shift
        rest = rest >> shift
    # Shift each value down or up so that exactly seven bits follow its leading 1.
    down = (exponent - INDEX_BITS) * (exponent > INDEX_BITS)
    up = (INDEX_BITS - exponent) * (exponent < INDEX_BITS)
    index = ((values >> down) << up) - (1 << INDEX_BITS)
    return exponent * LOG_ONE + constant(LOG_TABLE, index)[index]


def square_root(values: Whole) -> Whole:
    """Return the square roots of integers, rounded down; the root is built bit by bit from the highest.

    Args:
        values: int64, from 0 to below 2^62.

    >>> square_root(np.array([0, 3, 4, 99, 10**12]))
    array([      0,       1,       2,       9, 1000000])
    """
    root = values * 0
    for bit in range(MAX_ROOT_BITS - 1, -1, -1):
        trial = root + (1 << bit)
        root = root + (trial * trial <= values) * (1 << bit)
    return root
