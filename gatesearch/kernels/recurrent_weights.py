"""The weights of LSTMs and GRUs as dense, hybrid, low-rank or pruned matrices, packed for the C kernels.

A hybrid matrix comes from hybrid matrix decomposition (HMD): dense rows above, and blocks of rank 1 below. A *gate*
in this file is a gate of the LSTM or GRU cell; the weights of all gates are stored as [gates, height, columns].
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from ctypes import byref, c_int32, c_void_p
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from gatesearch.gates.matrices import Factors, HybridMatrix, LowRankMatrix, PrunedMatrix, block_edges
from gatesearch.kernels.arrays import Array, address, aligned_zeros, check_array
from gatesearch.kernels.geometry import Geometry
from gatesearch.kernels.library import Library

DENSE, HYBRID, SPARSE = range(3)  # forms of a matrix, as in kernels.h


class CMatrix(ctypes.Structure):
    """The C struct ``gs_matrix`` of kernels.h: the weights of all gates for the input or the state."""

    _fields_ = (
        *((name, c_int32) for name in ("kind", "gates", "height", "columns", "dense_rows", "parts")),
        *((name, c_void_p) for name in ("packed", "down", "values", "indices", "starts")),
    )


class PackedMatrix(NamedTuple):
    """Weights as a C struct, and the arrays that the struct points to and that must live as long."""

    matrix: CMatrix
    arrays: tuple[Array, ...]


class Weights(Protocol):
    """The weights of all gates of a layer for its input or its state, [gates, height, columns]."""

    gates: int
    height: int
    columns: int

    @property
    def parameters(self) -> int:
        """Number of stored weights; indices are not counted."""

    def full(self) -> Array:
        """Return the weights as one dense array [gates, height, columns]."""

    def pack(self, library: Library) -> PackedMatrix:
        """Return the weights packed for C."""


class Dense:
    """Dense matrices, float32 [gates, height, columns]."""

    def __init__(self, weight: Any) -> None:
        self.weight = check_array(weight, "weight", np.float32, (None, None, None))
        self.gates, self.height, self.columns = self.weight.shape

    @classmethod
    def from_factors(cls, matrix: Factors) -> Dense:
        """Return the dense matrices that are the products of factors of any kind."""
        return cls(_stack(matrix.dense(), matrix.groups))

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return self.weight.size

    def full(self) -> Array:
        """Return the weights."""
        return self.weight

    def pack(self, library: Library) -> PackedMatrix:
        """Pack the rows of all gates, one gate below the other."""
        packed = packed_rows(library, self.weight.reshape(-1, self.columns))
        matrix = CMatrix(kind=DENSE, gates=self.gates, height=self.height, columns=self.columns, packed=address(packed))
        return PackedMatrix(matrix, (packed,))


class HMD:
    """Hybrid matrix decomposition (Thakker et al. 2019): r dense rows A above, J rank-1 blocks b_j c_j below.

    The rank-1 blocks stand side by side: block j covers its own range of columns.

    Args:
        rich: A, float32 [gates, r, columns].
        down: the columns b_j, float32 [gates, J, height - r].
        across: the rows c_j, one after another, float32 [gates, columns]; their sizes differ by at most one.
    """

    def __init__(self, rich: Any, down: Any, across: Any) -> None:
        self.rich = check_array(rich, "rich", np.float32, (None, None, None))
        self.gates, rows, self.columns = self.rich.shape
        self.down = check_array(down, "down", np.float32, (self.gates, None, None))
        self.across = check_array(across, "across", np.float32, (self.gates, self.columns))
        self.parts = self.down.shape[1]
        self.height = rows + self.down.shape[2]

    @classmethod
    def from_factors(cls, matrix: HybridMatrix) -> HMD:
        """Return the weights of trained factors."""
        rich, down, across = (part.detach().float() for part in matrix.parts())
        rich = rich.unflatten(0, (matrix.groups, -1)) if len(rich) else rich.reshape(matrix.groups, 0, matrix.columns)
        return cls(rich.contiguous(), down.movedim(0, 1).contiguous(), across.contiguous())

    @property
    def parameters(self) -> int:
        """Number of weights: r n + J (m - r) + n for each gate of height m, with n columns and r dense rows."""
        return self.rich.size + self.down.size + self.across.size

    def full(self) -> Array:
        """Return the products of the factors, which are dense matrices."""
        split_rows = np.einsum("gji,gjn->gin", self.down, self._split())
        return np.concatenate([self.rich, split_rows.astype(np.float32)], 1)

    def pack(self, library: Library) -> PackedMatrix:
        """Pack the dense rows of all gates and, below them, the rows c_j of each gate, each padded with zeros."""
        rows = [self.rich.reshape(-1, self.columns), self._split().reshape(-1, self.columns)]
        packed = packed_rows(library, np.concatenate(rows))
        matrix = CMatrix(
            kind=HYBRID,
            gates=self.gates,
            height=self.height,
            columns=self.columns,
            dense_rows=self.rich.shape[1],
            parts=self.parts,
            packed=address(packed),
            down=address(self.down),
        )
        return PackedMatrix(matrix, (packed, self.down))

    def _split(self) -> Array:
        """Return the rows c_j, each padded with zeros to all columns, [gates, J, columns]."""
        split = np.zeros((self.gates, self.parts, self.columns), np.float32)
        for part, (begin, end) in enumerate(block_edges(self.columns, self.parts)):
            split[:, part, begin:end] = self.across[:, begin:end]
        return split


class LowRank:
    """Low-rank matrix factors (LMF): a product U V for each gate.

    The C code treats the product as a hybrid matrix without dense rows, whose rank-1 parts each span all columns.

    Args:
        left: U, float32 [gates, height, d].
        right: V, float32 [gates, d, columns].
    """

    def __init__(self, left: Any, right: Any) -> None:
        self.left = check_array(left, "left", np.float32, (None, None, None))
        self.gates, self.height, self.rank = self.left.shape
        self.right = check_array(right, "right", np.float32, (self.gates, self.rank, None))
        self.columns = self.right.shape[2]

    @classmethod
    def from_factors(cls, matrix: LowRankMatrix) -> LowRank:
        """Return the weights of trained factors."""
        u, v = (part.detach().float() for part in matrix.parts())
        return cls(u.contiguous(), v.unflatten(0, (matrix.groups, -1)).contiguous())

    @property
    def parameters(self) -> int:
        """Number of weights: d (m + n) for each gate of height m with n columns."""
        return self.left.size + self.right.size

    def full(self) -> Array:
        """Return the products of the factors, which are dense matrices."""
        return self.left @ self.right

    def pack(self, library: Library) -> PackedMatrix:
        """Pack V of all gates as rows; U is stored column by column."""
        packed = packed_rows(library, self.right.reshape(-1, self.columns))
        columns = np.ascontiguousarray(self.left.transpose(0, 2, 1))
        matrix = CMatrix(
            kind=HYBRID,
            gates=self.gates,
            height=self.height,
            columns=self.columns,
            parts=self.rank,
            packed=address(packed),
            down=address(columns),
        )
        return PackedMatrix(matrix, (packed, columns))


class Pruned:
    """Sparse weights: only non-zero weights are stored, by rows (CSR format) with 16-bit column indices."""

    def __init__(self, weight: Any) -> None:
        self.weight = check_array(weight, "weight", np.float32, (None, None, None))
        self.gates, self.height, self.columns = self.weight.shape
        if self.columns > 2**16:
            raise ValueError(f"{self.columns} columns do not fit 16 bits")
        flat = self.weight.reshape(-1, self.columns)
        rows, columns = flat.nonzero()
        self._values, self._indices = flat[rows, columns], columns.astype(np.uint16)
        self._starts = np.searchsorted(rows, np.arange(len(flat) + 1)).astype(np.int32)

    @classmethod
    def from_factors(cls, matrix: PrunedMatrix) -> Pruned:
        """Return the weights of a trained matrix, with zeros in place of the weights that its pruning removes."""
        remaining = matrix.weight * matrix.largest(matrix.keep)
        return cls(_stack(remaining, matrix.groups))

    @property
    def parameters(self) -> int:
        """Number of weights that are not zero."""
        return self._values.size

    def full(self) -> Array:
        """Return all weights, zeros included."""
        return self.weight

    def pack(self, library: Library) -> PackedMatrix:
        """Return pointers to the values, their columns and the starts of rows."""
        matrix = CMatrix(
            kind=SPARSE,
            gates=self.gates,
            height=self.height,
            columns=self.columns,
            values=address(self._values),
            indices=address(self._indices),
            starts=address(self._starts),
        )
        return PackedMatrix(matrix, (self._values, self._indices, self._starts))


FORMS: Mapping[type[Factors], Callable[[Any], Weights]] = {
    HybridMatrix: HMD.from_factors,
    LowRankMatrix: LowRank.from_factors,
    PrunedMatrix: Pruned.from_factors,
}


def weights_from_factors(matrix: Factors) -> Weights:
    """Return trained factors in the form whose product with a vector takes the least work."""
    return FORMS.get(type(matrix), Dense.from_factors)(matrix)


def _stack(weight: torch.Tensor, gates: int) -> torch.Tensor:
    return weight.detach().float().unflatten(0, (gates, -1)).contiguous()


def packed_rows(library: Library, rows: Array) -> Array:
    """Return a matrix [m, n] packed like the weights of a 1 x 1 convolution."""
    shape = Geometry((1, 1), rows.shape[1], rows.shape[0]).c
    packed = aligned_zeros(library.function("conv_f32_size")(byref(shape)), np.float32)
    contiguous = np.ascontiguousarray(rows)
    library.function("conv_f32_pack")(byref(shape), address(contiguous), address(packed))
    return packed
