"""Recurrent layers between bytes: a trained LSTM or GRU with int8 weights, over all steps of a window.

The input is uint8 on any grid. The output is uint8: the byte b represents (b - 128) / 128, because the values of a
state lie between -1 and 1. Weights are rounded to int8, with one scale for each row. The module
:mod:`gatesearch.kernels.recurrent` holds the same layers in float32; kernels/src/recurrent_u8.c says how C computes a
step.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from ctypes import c_int32, c_void_p
from typing import Any, ClassVar

import numpy as np

from gatesearch.kernels.arrays import Array, address, aligned_zeros
from gatesearch.kernels.base import ActiveChannels
from gatesearch.kernels.conv import pack_u8
from gatesearch.kernels.geometry import Geometry
from gatesearch.kernels.library import Library
from gatesearch.kernels.recurrent import load_weights
from gatesearch.kernels.recurrent_weights import DENSE, Dense

STATE_STEPS = 128  # steps of a byte of the state in the real value 1; the byte of 0 is the same number
UNIT = 2.0**12  # steps of the activations' inputs in the real value 1
ONE = 2**15  # steps of the activations' results, and of a GRU's state, in the real value 1
RANGE = 8.0  # activations know their inputs from -8 to 8
ENTRIES = 2049  # of the table of an activation
LARGEST_WEIGHT = 127
GATES = {4: "lstm", 3: "gru"}  # number of gates of a cell


class CMatrixU8(ctypes.Structure):
    """The C struct ``gs_matrix_u8`` of kernels.h: the int8 weights of all gates for the input or the state."""

    _fields_ = (
        *((name, c_int32) for name in ("kind", "gates", "height", "columns", "dense_rows", "parts", "zero")),
        *((name, c_void_p) for name in ("packed", "sums", "scale", "middle", "down")),
    )


class CCell(ctypes.Structure):
    """The C struct ``gs_cell_u8`` of kernels.h: one depth and one direction of a recurrent layer."""

    _fields_ = (("of_x", CMatrixU8), ("of_h", CMatrixU8), ("bias_x", c_void_p), ("bias_h", c_void_p))


class CRecurrence(ctypes.Structure):
    """The C struct ``gs_recurrence_u8`` of kernels.h: a recurrent layer; the tables of gs_tables stand in place."""

    _fields_ = (
        *((name, c_int32) for name in ("lstm", "depth", "directions", "steps")),
        *((name, c_void_p) for name in ("sigmoid", "tanh", "cells")),
    )


class RecurrentBytes:
    """A recurrent layer from uint8 [steps, columns] to uint8 [steps, directions * units].

    Args:
        arrays: what :meth:`pack` returned.
        library: the compiled kernels.

    Attributes:
        shape: shape of the output.
        scratch: memory of the C function.
        constants: the arrays that C reads.
    """

    operator: ClassVar[str] = "recurrence"
    takes_any_grid: ClassVar[bool] = True
    level_out: ClassVar[float] = 1 / STATE_STEPS
    zero_out: ClassVar[int] = STATE_STEPS
    reads: ClassVar[tuple[int, ...]] = ()
    active: ActiveChannels | None = None
    geometry = None

    def __init__(self, arrays: Mapping[str, Array], library: Library) -> None:
        self.library = library
        self.level_in, self.zero_in = np.float32(arrays["level_in"]), int(arrays["zero_in"])
        directions, self.steps = int(arrays["directions"]), int(arrays["steps"])
        self.constants: list[Array] = [np.ascontiguousarray(arrays[name]) for name in ("sigmoid", "tanh")]
        count = sum(name.endswith(".bias_x") for name in arrays)
        self.cells = (CCell * count)(*(self._cell(arrays, k, k < directions) for k in range(count)))
        units = self.cells[0].of_h.height
        self.shape = (self.steps, directions * units)
        self.c = CRecurrence(
            lstm=int(GATES[self.cells[0].of_h.gates] == "lstm"),
            depth=count // directions,
            directions=directions,
            steps=self.steps,
            sigmoid=address(self.constants[0]),
            tanh=address(self.constants[1]),
            cells=ctypes.addressof(self.cells),
        )
        self.scratch = aligned_zeros(library.function("recurrence_u8_scratch")(ctypes.addressof(self.c)), np.uint8)

    @classmethod
    def pack(cls, layer: Mapping[str, Array], level_in: float, zero_in: int) -> dict[str, Array]:
        """Return the arrays of a layer between bytes, from those of the float32 layer (:meth:`.RecurrentLayer.arrays`).

        Args:
            layer: the arrays of the layer in float32.
            level_in: real value of a step of the input.
            zero_in: the byte of the input that represents 0.

        Raises:
            ValueError: a matrix has no int8 form.
        """
        sigmoid, tanh = activation_tables()
        arrays = {
            "directions": layer["directions"],
            "steps": layer["steps"],
            "level_in": np.asarray(np.float32(level_in)),
            "zero_in": np.asarray(zero_in),
            "sigmoid": sigmoid,
            "tanh": tanh,
        }
        for k in range(sum(name.endswith(".bias_x") for name in layer)):
            for side in "xh":
                weights = load_weights(layer, f"{k}.{side}")
                if not isinstance(weights, Dense):
                    raise ValueError(f"matrices of the form {type(weights).__name__} have no form in int8")
                rows = weights.weight.reshape(-1, weights.columns)
                largest = np.abs(rows).max(1)
                steps = np.where(largest > 0, largest / np.float32(LARGEST_WEIGHT), 1).astype(np.float32)
                arrays[f"{k}.{side}.weight"] = np.rint(rows / steps[:, None]).astype(np.int8)
                arrays[f"{k}.{side}.steps"] = steps
            bias_x, bias_h = (layer[f"{k}.bias_{side}"] * np.float32(UNIT) for side in "xh")
            if load_weights(layer, f"{k}.h").gates == 4:
                bias_x = bias_x + bias_h
            arrays |= {f"{k}.bias_x": bias_x, f"{k}.bias_h": bias_h}
        return arrays

    def _cell(self, arrays: Mapping[str, Array], k: int, is_first: bool) -> CCell:
        level, zero = (self.level_in, self.zero_in) if is_first else (np.float32(self.level_out), self.zero_out)
        of_h = self._matrix(arrays, f"{k}.h", np.float32(self.level_out), self.zero_out)
        biases = [np.ascontiguousarray(arrays[f"{k}.bias_{side}"], np.float32) for side in "xh"]
        self.constants += biases
        of_x = self._matrix(arrays, f"{k}.x", level, zero, of_h.height)
        return CCell(of_x, of_h, *map(address, biases))

    def _matrix(
        self, arrays: Mapping[str, Array], name: str, level: np.float32, zero: int, height: int | None = None
    ) -> CMatrixU8:
        weight = np.ascontiguousarray(arrays[f"{name}.weight"], np.int8)
        rows, columns = weight.shape
        height = columns if height is None else height
        packed, _ = pack_u8(self.library, Geometry((1, 1), columns, rows), weight[:, :, None, None])
        sums = weight.sum(1, dtype=np.int32)
        scale = (arrays[f"{name}.steps"] * (level * np.float32(UNIT))).astype(np.float32)
        self.constants += [packed, sums, scale]
        return CMatrixU8(
            kind=DENSE,
            gates=rows // height,
            height=height,
            columns=columns,
            zero=zero,
            packed=address(packed),
            sums=address(sums),
            scale=address(scale),
        )

    def describe(self, active: ActiveChannels | None = None, whole: bool = True) -> CRecurrence:
        """Return the C struct of the layer; a recurrent layer reads and writes all of its channels."""
        return self.c

    def __call__(self, x: Array, active: ActiveChannels | None = None) -> Array:
        """Return the output for x, uint8 [steps, columns]."""
        y, sequence = np.zeros(self.shape, np.uint8), np.ascontiguousarray(x, np.uint8)
        function = self.library.function("recurrence_u8")
        function(ctypes.addressof(self.c), address(sequence), address(y), address(self.scratch))
        return y


def activation_tables() -> tuple[Array, Array]:
    """Return sigmoid and tanh from -8 to 8 as int16 [2049] each, in steps of 2^-15.

    >>> sigmoid, tanh = activation_tables()
    >>> int(sigmoid[1024]), int(tanh[1024]), int(tanh[-1])
    (16384, 0, 32767)
    """
    x = np.linspace(-RANGE, RANGE, ENTRIES)
    curves: tuple[Any, Any] = 1 / (1 + np.exp(-x)), np.tanh(x)
    sigmoid, tanh = (np.clip(np.rint(curve * ONE), 1 - ONE, ONE - 1).astype(np.int16) for curve in curves)
    return sigmoid, tanh
