"""One time step of an LSTM or GRU cell at batch 1, in C, with a reference in torch."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from ctypes import byref
from typing import Any, ClassVar

import numpy as np
import torch
from torch.nn import functional as F

from gatesearch.kernels import native
from gatesearch.kernels.arrays import Array, address, aligned_zeros, check_array
from gatesearch.kernels.library import Library, bind_call
from gatesearch.kernels.recurrent_weights import Weights


class RecurrentStep(ABC):
    """One time step of a recurrent layer at batch 1, float32: the base class of the LSTM and the GRU."""

    gates: ClassVar[int]

    def __init__(
        self,
        input_weights: Weights,
        state_weights: Weights,
        bias_x: Any,
        bias_h: Any,
        library: Library | None = None,
    ) -> None:
        gates = {input_weights.gates, state_weights.gates}
        if gates != {self.gates} or input_weights.height != state_weights.height:
            sizes = " of the input, ".join(f"{side.gates} x {side.height}" for side in (input_weights, state_weights))
            raise ValueError(f"weights of {sizes} of the state: both must have {self.gates} gates, of one height")
        if state_weights.columns != state_weights.height:
            raise ValueError(f"weights of the state have {state_weights.columns} columns, not {state_weights.height}")
        self.input_weights, self.state_weights, self.size = input_weights, state_weights, state_weights.height
        self.bias_x = check_array(bias_x, "bias_x", np.float32, (self.gates * self.size,))
        self.bias_h = check_array(bias_h, "bias_h", np.float32, (self.gates * self.size,))
        self.bias = self.bias_x + self.bias_h
        self.library = library or native.load()
        if self.library:
            packed_x, packed_h = input_weights.pack(self.library), state_weights.pack(self.library)
            self._x, self._h, self._arrays = packed_x.matrix, packed_h.matrix, (packed_x.arrays, packed_h.arrays)
            scratch = self.library.function("step_scratch")(byref(self._x), byref(self._h))
            self._scratch = aligned_zeros(scratch, np.uint8)

    @property
    def parameters(self) -> int:
        """Number of weights; biases are not counted."""
        return self.input_weights.parameters + self.state_weights.parameters

    def _products(self, x: Array, h: Array) -> tuple[torch.Tensor, torch.Tensor]:
        """Return weights times vector plus bias, for the input and for the state, computed in torch."""
        pairs = ((self.input_weights, x, self.bias_x), (self.state_weights, h, self.bias_h))
        first, second = (
            F.linear(torch.from_numpy(value), torch.from_numpy(m.full().reshape(-1, m.columns)), torch.from_numpy(bias))
            for m, value, bias in pairs
        )
        return first, second


class LSTMStep(RecurrentStep):
    """One time step of an LSTM; its gates have torch's order i, f, g, o.

    Args:
        input_weights: weights of the input; their height is the number of units.
        state_weights: weights of the state.
        bias_x: bias of the input, float32 [4 x height].
        bias_h: bias of the state, float32 [4 x height].
        library: the compiled kernels; None loads the best ones for this CPU.

    >>> from gatesearch.kernels import Dense
    >>> zero = Dense(np.zeros((4, 2, 2), np.float32))
    >>> step = LSTMStep(zero, zero, np.zeros(8, np.float32), np.zeros(8, np.float32))
    >>> h, c = np.zeros(2, np.float32), np.ones(2, np.float32)
    >>> step(np.ones(2, np.float32), h, c)
    >>> c.tolist()
    [0.5, 0.5]
    """

    gates = 4

    def __call__(self, x: Array, h: Array, c: Array) -> None:
        """Replace the states h and c [height] by the next states, for an input x [columns]; all are float32."""
        self.bind(x, h, c)()

    def bind(self, x: Array, h: Array, c: Array) -> Callable[[], None]:
        """Return a function that runs the kernel on arrays at fixed addresses."""
        check_array(x, "x", np.float32, (self.input_weights.columns,))
        check_array(h, "h", np.float32, (self.size,))
        check_array(c, "c", np.float32, (self.size,))
        if not self.library:
            return lambda: self._by_reference(x, h, c)
        arguments = (byref(self._x), byref(self._h), *map(address, (self.bias, x, h, c, self._scratch)))
        return bind_call(self.library.function("lstm_step"), arguments, x, h, c, self)

    def reference(self, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
        """Return the next h and c, computed in torch."""
        i, f, g, o = sum(self._products(x, h)).chunk(4)  # type: ignore[union-attr]
        next_c = f.sigmoid() * torch.from_numpy(c) + i.sigmoid() * g.tanh()
        return (o.sigmoid() * next_c.tanh()).numpy(), next_c.numpy()

    def _by_reference(self, x: Array, h: Array, c: Array) -> None:
        h[:], c[:] = self.reference(x, h, c)


class GRUStep(RecurrentStep):
    """One time step of a GRU with torch's gate order r, z, n; arguments as in :class:`LSTMStep`, with three gates."""

    gates = 3

    def __call__(self, x: Array, h: Array) -> None:
        """Replace the state h [height] by the next state, for an input x [columns]; both are float32."""
        self.bind(x, h)()

    def bind(self, x: Array, h: Array) -> Callable[[], None]:
        """Return a function that runs the kernel on arrays at fixed addresses."""
        check_array(x, "x", np.float32, (self.input_weights.columns,))
        check_array(h, "h", np.float32, (self.size,))
        if not self.library:
            return lambda: np.copyto(h, self.reference(x, h))
        arguments = (byref(self._x), byref(self._h), *map(address, (self.bias_x, self.bias_h, x, h, self._scratch)))
        return bind_call(self.library.function("gru_step"), arguments, x, h, self)

    def reference(self, x: Array, h: Array) -> Array:
        """Return the next h, computed in torch."""
        (rx, zx, nx), (rh, zh, nh) = (part.chunk(3) for part in self._products(x, h))
        update, candidate = (zx + zh).sigmoid(), (nx + (rx + rh).sigmoid() * nh).tanh()
        return ((1 - update) * candidate + update * torch.from_numpy(h)).numpy()
