"""The type, shape and quantisation of an input or output tensor of a program."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output tensor of a program; ``scale`` is 0 if the tensor is not quantised.

    An integer q represents the value (q - zero_point) scale.

    >>> spec = TensorSpec("logit", (1, 1), np.dtype(np.int8), scale=0.5, zero_point=3)
    >>> spec.quantise(np.array([[1.0]])).tolist(), spec.dequantise(np.array([[5]], np.int8)).tolist()
    ([[5]], [[1.0]])
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: float
    zero_point: int

    @property
    def range(self) -> tuple[float, float] | None:
        """The values that the type's smallest and largest integer represent; None if the tensor is not quantised."""
        if not self.scale:
            return None
        limits = np.iinfo(self.dtype)
        return self.value(limits.min), self.value(limits.max)

    def value(self, number: float) -> float:
        """Return the value that a number of the tensor's own type represents."""
        return (number - self.zero_point) * self.scale if self.scale else number

    def quantise(self, array: Array) -> Array:
        """Convert float values to the tensor's own type; halves round away from zero, as in TFLite."""
        if not self.scale:
            return array.astype(self.dtype)
        steps = array / self.scale
        steps = np.trunc(steps + np.copysign(0.5, steps)) + self.zero_point
        limits = np.iinfo(self.dtype)
        return np.clip(steps, limits.min, limits.max).astype(self.dtype)

    def dequantise(self, array: Array) -> npt.NDArray[np.float32]:
        """Convert numbers of the tensor's own type to float32 values."""
        if not self.scale:
            return array.astype(np.float32)
        if array.dtype == np.int8:
            # A negative int8 value indexes the table from its end.
            return _int8_values(self.scale, self.zero_point)[array]
        return _dequantise(array, self.scale, self.zero_point)


def _dequantise(array: Array, scale: float, zero_point: int) -> npt.NDArray[np.float32]:
    return (array.astype(np.float32) - zero_point) * np.float32(scale)


@functools.lru_cache(256)
def _int8_values(scale: float, zero_point: int) -> npt.NDArray[np.float32]:
    """Return a table of the values that 0 .. 127, -128 .. -1 represent.

    For a few values, a look-up takes a third of the time of the arithmetic.
    """
    return _dequantise(np.arange(256).astype(np.int8), scale, zero_point)
