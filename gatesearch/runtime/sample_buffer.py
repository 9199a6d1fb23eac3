"""The newest samples of a stream in one array, without a copy of all of them at each push."""

from __future__ import annotations

import numpy as np

from gatesearch.runtime.cascade import Array


class SampleBuffer:
    """Holds samples in order; new ones come in at the end, old ones leave at the start.

    >>> buffer = SampleBuffer()
    >>> buffer.append(np.array([1, 2, 3], np.int16))
    >>> buffer.drop(2)
    >>> buffer.append(np.array([4], np.int16))
    >>> buffer.samples.tolist()
    [3, 4]
    """

    def __init__(self) -> None:
        self._room = np.empty(2**16, np.int16)
        self._first = self._last = 0

    def __len__(self) -> int:
        return self._last - self._first

    @property
    def samples(self) -> Array:
        """All samples, int16 [n]; valid until the next append."""
        return self._room[self._first : self._last]

    def append(self, samples: Array) -> None:
        """Add samples, int16 [n]."""
        if self._last + len(samples) > len(self._room):
            size = len(self) + len(samples)
            room = self._room if 2 * size <= len(self._room) else np.empty(4 * size, np.int16)
            room[: len(self)] = self.samples  # NumPy copies right even where both overlap
            self._first, self._last, self._room = 0, len(self), room
        self._room[self._last : self._last + len(samples)] = samples
        self._last += len(samples)

    def drop(self, count: int) -> None:
        """Remove the oldest samples."""
        self._first += count
