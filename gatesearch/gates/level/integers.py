"""Whole-number arithmetic that is the same to the bit in numpy, torch and C: binary logarithm and square root.

Functions take arrays of numpy or of torch, int64, and use shifts, comparisons, sums and one small table. A product of
floats rounds as the processor and the order of a sum have it; these do not round at all, or round down.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]
Whole = TypeVar("Whole", Array, Tensor)

LOG_BITS = 8  # a logarithm counts in 1/256 of an octave
LOG_ONE = 1 << LOG_BITS
INDEX_BITS = 7  # of the mantissa, behind its leading one
LOG_ERROR = 0.0076  # octaves: half an entry of the table is 0.0056, half a step of an entry 0.00195
# Each entry stands for the middle of the mantissas that share it.
_MIDDLES = (np.arange(1 << INDEX_BITS) + 0.5) / (1 << INDEX_BITS)
LOG_TABLE = np.round(LOG_ONE * np.log2(1 + _MIDDLES)).astype(np.int64)
MAX_ROOT_BITS = 31


def constant(values: Array, like: Whole) -> Whole:
    """Return a table as an array of the library of another.

    >>> constant(np.array([1, 2]), torch.zeros(3))
    tensor([1, 2])
    """
    return torch.from_numpy(values).to(like.device) if isinstance(like, Tensor) else values


def widen(values: Whole) -> Whole:
    """Return whole numbers as int64, in which sums of int16 never overflow."""
    return values.to(torch.int64) if isinstance(values, Tensor) else values.astype(np.int64)


def log2(values: Whole) -> Whole:
    """Return 256 times the binary logarithm of whole numbers from 1, within :data:`LOG_ERROR` octaves.

    The exponent is found by halving: six comparisons and shifts, or one count of leading zeros. Of the mantissa the
    next seven bits choose an entry of a table of 128.

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
    # A value shifts down or up so that seven bits stay behind its leading one.
    down = (exponent - INDEX_BITS) * (exponent > INDEX_BITS)
    up = (INDEX_BITS - exponent) * (exponent < INDEX_BITS)
    index = ((values >> down) << up) - (1 << INDEX_BITS)
    return exponent * LOG_ONE + constant(LOG_TABLE, index)[index]


def square_root(values: Whole) -> Whole:
    """Return the whole part of square roots, bit by bit from the highest.

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
