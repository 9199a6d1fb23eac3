"""The memory of a stage that C kernels run, and the places of its tensors in that memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gatesearch.kernels.arrays import LINE, Array, aligned_zeros

PAGE = 4096  # bytes


class Tensor(NamedTuple):
    """The places of a tensor's values in the memory that all tensors share.

    Reshapes, transpositions, slices and concatenations only change places; they move no values.

    Args:
        places: indices into the shared memory, int32 in the tensor's shape.
        scale: real value of one quantisation step.
        zero: the byte that represents the value 0.
    """

    places: Array
    scale: np.float32
    zero: int


class Memory:
    """One block of memory for all arrays of a stage.

    The distances between arrays determine which of them compete for cache lines. In a test with sixty equal stages, one
    took a quarter longer than the others when the system placed its arrays. In one block, all took the same time.
    """

    def __init__(self, size: int = 2**16) -> None:
        raw = np.zeros(size + PAGE, np.uint8)
        first = -raw.ctypes.data % PAGE
        self._free = raw[first : first + size]

    def take(self, shape: int | Sequence[int], dtype: Any) -> Array:
        """Return an array of zeros that starts on a cache line; it lies outside the block if the block is full."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if size > len(self._free):
            return aligned_zeros(shape, dtype)
        block, self._free = self._free[:size], self._free[-(-size // LINE) * LINE :]
        return block.view(dtype).reshape(shape)

    def copy(self, array: Array) -> Array:
        """Return a copy of an array."""
        copy = self.take(array.shape, array.dtype)
        copy[...] = array
        return copy


def find_runs(places: Array) -> Array:
    """Return runs of consecutive places in the order of the places, as rows (first, length), int32 [runs, 2].

    >>> find_runs(np.array([4, 5, 6, 0, 1, 9])).tolist()
    [[4, 3], [0, 2], [9, 1]]
    """
    flat = places.ravel()
    starts = np.flatnonzero(np.append(True, np.diff(flat) != 1)[: len(flat)])
    lengths = np.diff(np.append(starts, len(flat)))
    return np.stack([flat[starts], lengths], 1).astype(np.int32)
