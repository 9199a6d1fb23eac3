"""Steps of an LSTM or GRU in whole numbers: int8 weights, dense or in hybrid form (HMD).

Bytes go in and come out: x stands for (x - zero) times its scale, h for (h - 128) / 128; the cell of an LSTM is int16
in steps of 2^-12. Sigmoid and tanh are tables, so that every processor and the reference find the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from ctypes import byref
from typing import Any

import numpy as np

from gatesearch.gates import BLOCK
from gatesearch.gates.matrices import block_edges
from gatesearch.kernels import native
from gatesearch.kernels.arrays import Array, address, aligned, checked
from gatesearch.kernels.conv import _call, pack_u8
from gatesearch.kernels.geometry import Geometry
from gatesearch.kernels.recurrent import DENSE, HMD, HYBRID, Dense

STEP, STATE = 2.0**-12, 2.0**-7  # of a gate's input and a cell, of a state
INPUTS = (np.arange(2049) * 32 - 32768) * STEP
SIGMOID = np.rint(32767 / (1 + np.exp(-INPUTS))).astype(np.int16)
TANH = np.rint(32767 * np.tanh(INPUTS)).astype(np.int16)


class WeightsU8:
    """The int8 weights of all gates of a layer for its input or its state.

    Args:
        rows: int8 [gates, rows, columns], those that meet bytes: all of a dense matrix; the rich ones of a hybrid one
            and, below them, one for each of its parts.
        scale: float32 [gates, height]: from whole sums to real numbers.
        down: int8 [gates, parts, height - rich]; None where the matrix is dense.
        middle: float32 [gates, parts]: from the sum of a part to an int16.
    """

    def __init__(self, rows: Any, scale: Any, down: Any = None, middle: Any = None) -> None:
        self.rows = checked(rows, "rows", np.int8, (None, None, None))
        self.gates, _, self.columns = self.rows.shape
        self.scale = checked(scale, "scale", np.float32, (self.gates, None))
        self.height = self.scale.shape[1]
        self.parts = 0 if down is None else down.shape[1]
        self.rich = self.rows.shape[1] - self.parts
        poor = self.height - self.rich
        if down is None and poor:
            raise ValueError(f"{self.rich} rows, but scales of {self.height}")
        self.down = None if down is None else checked(down, "down", np.int8, (self.gates, self.parts, poor))
        self.middle = None if down is None else checked(middle, "middle", np.float32, (self.gates, self.parts))

    @classmethod
    def of(cls, weights: Dense | HMD, largest: float) -> WeightsU8:
        """Quantise float weights, each row on a scale of its own.

        Args:
            weights: of float32.
            largest: the sum of bytes times their scale is no larger than this for any part of a hybrid matrix, to
                either side; without effect on a dense one.
        """
        if isinstance(weights, Dense):
            rows, scale = _quantised(weights.weight, (2,))
            return cls(rows, scale[..., 0])
        split = np.zeros((weights.gates, weights.parts, weights.columns), np.float32)
        for part, (begin, end) in enumerate(block_edges(weights.columns, weights.parts)):
            split[:, part, begin:end] = weights.across[:, begin:end]
        rich, rich_scale = _quantised(weights.rich, (2,))
        across, across_scale = _quantised(split, (2,))
        down, down_scale = _quantised(weights.down, (1, 2))
        step = np.float32(largest / 32767)
        poor = np.broadcast_to(down_scale[:, 0] * step, (weights.gates, weights.down.shape[2]))
        scale = np.concatenate([rich_scale[..., 0], poor], 1).astype(np.float32)
        return cls(np.concatenate([rich, across], 1), scale, down, across_scale[..., 0] / step)

    def product(self, x: Array, zero: int, x_scale: np.float32) -> Array:
        """Return W (x - zero) in steps of 2^-12, float32 [gates * height], rounded where the kernels round."""
        scale, middle = self._scaled(x_scale)
        sums = self.rows.astype(np.int64) @ (x.astype(np.int64) - zero)
        if self.down is not None and middle is not None:
            factors = _nearest(middle * sums[:, self.rich :].astype(np.float32))
            poor = np.einsum("gp,gpi->gi", factors.astype(np.int64), self.down.astype(np.int64))
            sums = np.concatenate([sums[:, : self.rich], poor], 1)
        return (scale * sums.astype(np.float32)).ravel()

    def native(
        self, library: native.Library, zero: int, x_scale: np.float32
    ) -> tuple[native.MatrixU8, tuple[Any, ...]]:
        """Return what C is told, and the arrays that it points to."""
        scale, middle = self._scaled(x_scale)
        order = [self.rows[:, : self.rich], self.rows[:, self.rich :]]
        flat = np.ascontiguousarray(np.concatenate([part.reshape(-1, self.columns) for part in order]))
        shape = Geometry((1, 1), self.columns, len(flat))
        packed, _ = pack_u8(library, shape, flat[..., None, None])
        sums = aligned(-(-len(flat) // BLOCK) * BLOCK, np.int32)
        sums[: len(flat)] = flat.sum(1, dtype=np.int32)
        kind = DENSE if self.down is None else HYBRID
        sizes = (kind, self.gates, self.height, self.columns, self.rich, self.parts, zero)
        kept = (packed, sums, scale, middle, self.down)
        return native.MatrixU8(*sizes, *map(address, kept)), kept

    def _scaled(self, x_scale: np.float32) -> tuple[Array, Array | None]:
        """Return the scales of whole sums and of parts where a step of x is worth ``x_scale``."""
        if self.middle is None:
            return (self.scale * (x_scale / np.float32(STEP))).astype(np.float32), None
        scale = self.scale / np.float32(STEP)
        scale[:, : self.rich] *= x_scale
        return scale.astype(np.float32), (self.middle * x_scale).astype(np.float32)


class _StepU8:
    """What both cells share."""

    gates: int

    def __init__(
        self,
        of_x: WeightsU8,
        of_h: WeightsU8,
        bias_x: Any,
        bias_h: Any,
        x_scale: float,
        x_zero: int = 128,
        library: native.Library | None = None,
    ) -> None:
        if (of_x.gates, of_h.gates, of_x.height, of_h.columns) != (self.gates, self.gates, of_h.height, of_h.height):
            raise ValueError(
                f"weights of {of_x.scale.shape} and {of_h.scale.shape}: both must be of {self.gates} gates"
            )
        self.of_x, self.of_h, self.size = of_x, of_h, of_h.height
        self.x_scale, self.x_zero = np.float32(x_scale), x_zero
        biases = [
            checked(b, "bias", np.float32, (self.gates * self.size,)) / np.float32(STEP) for b in (bias_x, bias_h)
        ]
        self.bias_x, self.bias_h = (np.ascontiguousarray(bias, np.float32) for bias in biases)
        self.bias = self.bias_x + self.bias_h
        self.library = library or native.load()
        if self.library:
            (self._x, kept_x), (self._h, kept_h) = (
                of_x.native(self.library, x_zero, self.x_scale),
                of_h.native(self.library, 128, np.float32(STATE)),
            )
            self._tables, self._kept = native.Tables(address(SIGMOID), address(TANH)), (kept_x, kept_h)
            self._scratch = aligned(self.library.function("step_u8_scratch")(byref(self._x), byref(self._h)), np.uint8)

    def _products(self, x: Array, h: Array, bias_x: Array, bias_h: Array) -> tuple[Array, Array]:
        first = bias_x + self.of_x.product(x, self.x_zero, self.x_scale)
        return first, self.of_h.product(h, 128, np.float32(STATE)) + bias_h

    def _check(self, x: Array, h: Array) -> None:
        checked(x, "x", np.uint8, (self.of_x.columns,)), checked(h, "h", np.uint8, (self.size,))


class LSTMStepU8(_StepU8):
    """One step of an LSTM; gates in torch's order, i f g o.

    Args:
        of_x: weights of the input.
        of_h: weights of the state.
        bias_x: float32 [4 height].
        bias_h: float32 [4 height].
        x_scale: worth of a step of x.
        x_zero: the x that stands for 0.
        library: None is the best for this CPU.

    >>> zero = WeightsU8(np.zeros((4, 2, 2), np.int8), np.ones((4, 2), np.float32))
    >>> step = LSTMStepU8(zero, zero, np.zeros(8, np.float32), np.zeros(8, np.float32), 0.1)
    >>> h, c = np.full(2, 128, np.uint8), np.full(2, 4096, np.int16)
    >>> step(np.zeros(2, np.uint8), h, c)
    >>> c.tolist()
    [2048, 2048]
    """

    gates = 4

    def __call__(self, x: Array, h: Array, c: Array) -> None:
        """Replace h [height], uint8, and c [height], int16, by the next, given x [columns], uint8."""
        self.bind(x, h, c)()

    def bind(self, x: Array, h: Array, c: Array) -> Callable[[], None]:
        """Return the call for arrays that stay where they are."""
        self._check(x, h)
        checked(c, "c", np.int16, (self.size,))
        if not self.library:
            return lambda: self._by_reference(x, h, c)
        about = (byref(self._x), byref(self._h), byref(self._tables))
        arguments = (*about, *map(address, (self.bias, x, h, c, self._scratch)))
        return _call(self.library.function("lstm_step_u8"), arguments, x, h, c, self)

    def reference(self, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
        """Return the next h and c, by numpy."""
        first = self.bias + self.of_x.product(x, self.x_zero, self.x_scale)
        z = _nearest(first + self.of_h.product(h, 128, np.float32(STATE)))
        i, f, g, o = z.reshape(4, -1)
        i, f, o, g = _looked_up(SIGMOID, i), _looked_up(SIGMOID, f), _looked_up(SIGMOID, o), _looked_up(TANH, g)
        after = ((f * c + ((i * g + 4) >> 3) + (1 << 14)) >> 15).clip(-32768, 32767)
        return _bytes(o * _looked_up(TANH, after)), after.astype(np.int16)

    def _by_reference(self, x: Array, h: Array, c: Array) -> None:
        h[:], c[:] = self.reference(x, h, c)


class GRUStepU8(_StepU8):
    """One step of a GRU; gates in torch's order, r z n. Arguments as those of :class:`LSTMStepU8`, of three gates."""

    gates = 3

    def __call__(self, x: Array, h: Array) -> None:
        """Replace h [height] by the next, given x [columns]; both uint8."""
        self.bind(x, h)()

    def bind(self, x: Array, h: Array) -> Callable[[], None]:
        """Return the call for arrays that stay where they are."""
        self._check(x, h)
        if not self.library:
            return lambda: np.copyto(h, self.reference(x, h))
        about = (byref(self._x), byref(self._h), byref(self._tables))
        arguments = (*about, *map(address, (self.bias_x, self.bias_h, x, h, self._scratch)))
        return _call(self.library.function("gru_step_u8"), arguments, x, h, self)

    def reference(self, x: Array, h: Array) -> Array:
        """Return the next h, by numpy."""
        zx, zh = (part.reshape(3, -1) for part in self._products(x, h, self.bias_x, self.bias_h))
        reset, update = (_looked_up(SIGMOID, _nearest(zx[k] + zh[k])) for k in (0, 1))
        inner = _nearest(zx[2]) + ((reset * _nearest(zh[2]) + (1 << 14)) >> 15)
        fresh = _looked_up(TANH, inner.clip(-32768, 32767))
        return _bytes((32768 - update) * fresh + update * ((h.astype(np.int64) - 128) * 256))


def _quantised(weight: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    """Return int8 and what a step of each is worth, one for all along the axes."""
    scale = np.maximum(np.abs(weight).max(axes, keepdims=True), 1e-8).astype(np.float32) / np.float32(127)
    return np.rint(weight / scale).astype(np.int8), scale


def _nearest(real: Array) -> Array:
    return np.rint(real.clip(-32768, 32767)).astype(np.int64)


def _looked_up(table: Array, value: Array) -> Array:
    return table[(value + 32768 + 16) >> 5].astype(np.int64)


def _bytes(product: Array) -> Array:
    return (((product + (1 << 22)) >> 23) + 128).clip(0, 255).astype(np.uint8)
