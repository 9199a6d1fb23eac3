"""Steps of an LSTM or GRU at batch 1, with weights that are dense, in hybrid form (HMD), of low rank or pruned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ctypes import byref
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch.nn import functional as F

from gatesearch.gates.matrices import Factors, HybridMatrix, LowRankMatrix, PrunedMatrix, block_edges
from gatesearch.kernels import native
from gatesearch.kernels.arrays import Array, address, aligned, checked
from gatesearch.kernels.conv import _call
from gatesearch.kernels.geometry import Geometry

DENSE, HYBRID, SPARSE = range(3)  # as in kernels.h


class Native(NamedTuple):
    """Weights as C wants them, and the arrays that they point to, which must live as long."""

    matrix: native.Matrix
    kept: tuple[Array, ...]


class Weights(Protocol):
    """The weights of all gates of a layer for its input or its state, [gates, height, columns]."""

    gates: int
    height: int
    columns: int

    @property
    def parameters(self) -> int:
        """How many numbers there are; indices are not counted."""

    def full(self) -> Array:
        """Return them as one dense array [gates, height, columns]."""

    def native(self, library: native.Library) -> Native:
        """Return them as C wants them."""


class Dense:
    """All weights, float32 [gates, height, columns]."""

    def __init__(self, weight: Any) -> None:
        self.weight = checked(weight, "weight", np.float32, (None, None, None))
        self.gates, self.height, self.columns = self.weight.shape

    @classmethod
    def of(cls, matrix: Factors) -> Dense:
        """Take over the matrices that factors of any kind stand for."""
        return cls(_stack(matrix.dense(), matrix.groups))

    @property
    def parameters(self) -> int:
        """All of them."""
        return self.weight.size

    def full(self) -> Array:
        """Return what it is."""
        return self.weight

    def native(self, library: native.Library) -> Native:
        """Pack the rows of all gates below each other."""
        packed = packed_rows(library, self.weight.reshape(-1, self.columns))
        shape = (self.gates, self.height, self.columns)
        return Native(native.Matrix(DENSE, *shape, 0, 0, address(packed), None, None, None, None), (packed,))


class HMD:
    """Hybrid matrix decomposition (Thakker et al. 2019): rows A above, rank-1 blocks b_j c_j side by side below.

    Args:
        rich: A, float32 [gates, r, columns].
        down: b, float32 [gates, J, height - r].
        across: c, float32 [gates, columns]; its J parts, dealt out as evenly as can be, are the c_j.
    """

    def __init__(self, rich: Any, down: Any, across: Any) -> None:
        self.rich = checked(rich, "rich", np.float32, (None, None, None))
        self.gates, rows, self.columns = self.rich.shape
        self.down = checked(down, "down", np.float32, (self.gates, None, None))
        self.across = checked(across, "across", np.float32, (self.gates, self.columns))
        self.parts = self.down.shape[1]
        self.height = rows + self.down.shape[2]

    @classmethod
    def of(cls, matrix: HybridMatrix) -> HMD:
        """Take over trained factors."""
        rich, down, across = (part.detach().float() for part in matrix.parts())
        rich = rich.unflatten(0, (matrix.groups, -1)) if len(rich) else rich.reshape(matrix.groups, 0, matrix.columns)
        return cls(rich.contiguous(), down.movedim(0, 1).contiguous(), across.contiguous())

    @property
    def parameters(self) -> int:
        """r n + J (m - r) + n, a gate."""
        return self.rich.size + self.down.size + self.across.size

    def full(self) -> Array:
        """Return the matrices that the factors stand for."""
        poor = np.einsum("gji,gjn->gin", self.down, self._split())
        return np.concatenate([self.rich, poor.astype(np.float32)], 1)

    def native(self, library: native.Library) -> Native:
        """Pack the rich rows of all gates and, below them, each gate's c_j, zero beside their part."""
        rows = [self.rich.reshape(-1, self.columns), self._split().reshape(-1, self.columns)]
        packed = packed_rows(library, np.concatenate(rows))
        shape = (self.gates, self.height, self.columns, self.rich.shape[1], self.parts)
        matrix = native.Matrix(HYBRID, *shape, address(packed), address(self.down), None, None, None)
        return Native(matrix, (packed, self.down))

    def _split(self) -> Array:
        """Return c_j in their places, [gates, J, columns]."""
        split = np.zeros((self.gates, self.parts, self.columns), np.float32)
        for part, (begin, end) in enumerate(block_edges(self.columns, self.parts)):
            split[:, part, begin:end] = self.across[:, begin:end]
        return split


class LowRank:
    """Two factors U V a gate (LMF): to C, hybrid matrices without rich rows whose parts lie over each other.

    Args:
        left: U, float32 [gates, height, d].
        right: V, float32 [gates, d, columns].
    """

    def __init__(self, left: Any, right: Any) -> None:
        self.left = checked(left, "left", np.float32, (None, None, None))
        self.gates, self.height, self.rank = self.left.shape
        self.right = checked(right, "right", np.float32, (self.gates, self.rank, None))
        self.columns = self.right.shape[2]

    @classmethod
    def of(cls, matrix: LowRankMatrix) -> LowRank:
        """Take over trained factors."""
        left, right = (part.detach().float() for part in matrix.parts())
        return cls(left.contiguous(), right.unflatten(0, (matrix.groups, -1)).contiguous())

    @property
    def parameters(self) -> int:
        """d (m + n), a gate."""
        return self.left.size + self.right.size

    def full(self) -> Array:
        """Return the matrices that the factors stand for."""
        return self.left @ self.right

    def native(self, library: native.Library) -> Native:
        """Pack V of all gates; U lies column by column."""
        packed = packed_rows(library, self.right.reshape(-1, self.columns))
        columns = np.ascontiguousarray(self.left.transpose(0, 2, 1))
        shape = (self.gates, self.height, self.columns, 0, self.rank)
        return Native(
            native.Matrix(HYBRID, *shape, address(packed), address(columns), None, None, None), (packed, columns)
        )


class Pruned:
    """Weights of which only those that are not zero are kept, by rows (CSR) with 16-bit columns."""

    def __init__(self, weight: Any) -> None:
        self.weight = checked(weight, "weight", np.float32, (None, None, None))
        self.gates, self.height, self.columns = self.weight.shape
        if self.columns > 2**16:
            raise ValueError(f"{self.columns} columns do not fit 16 bits")
        flat = self.weight.reshape(-1, self.columns)
        rows, columns = flat.nonzero()
        self._values, self._indices = flat[rows, columns], columns.astype(np.uint16)
        self._starts = np.searchsorted(rows, np.arange(len(flat) + 1)).astype(np.int32)

    @classmethod
    def of(cls, matrix: PrunedMatrix) -> Pruned:
        """Take over the elements that are left of a trained matrix."""
        kept = matrix.weight * matrix.largest(matrix.kept)
        return cls(_stack(kept, matrix.groups))

    @property
    def parameters(self) -> int:
        """Those that are not zero."""
        return self._values.size

    def full(self) -> Array:
        """Return all, zeros included."""
        return self.weight

    def native(self, library: native.Library) -> Native:
        """Point to values, columns and starts of rows."""
        arrays = (self._values, self._indices, self._starts)
        shape = (self.gates, self.height, self.columns)
        return Native(native.Matrix(SPARSE, *shape, 0, 0, None, None, *map(address, arrays)), arrays)


class _Step:
    """What both cells share."""

    gates: int

    def __init__(
        self, of_x: Weights, of_h: Weights, bias_x: Any, bias_h: Any, library: native.Library | None = None
    ) -> None:
        if (of_x.gates, of_h.gates) != (self.gates, self.gates) or of_x.height != of_h.height:
            found = f"{of_x.gates} x {of_x.height} of the input, {of_h.gates} x {of_h.height} of the state"
            raise ValueError(f"weights of {found}: both must have {self.gates} gates, of one height")
        if of_h.columns != of_h.height:
            raise ValueError(f"weights of the state have {of_h.columns} columns, not {of_h.height}")
        self.of_x, self.of_h, self.size = of_x, of_h, of_h.height
        self.bias_x = checked(bias_x, "bias_x", np.float32, (self.gates * self.size,))
        self.bias_h = checked(bias_h, "bias_h", np.float32, (self.gates * self.size,))
        self.bias = self.bias_x + self.bias_h
        self.library = library or native.load()
        if self.library:
            made = of_x.native(self.library), of_h.native(self.library)
            (self._x, self._h), self._kept = (m.matrix for m in made), [m.kept for m in made]
            scratch = self.library.function("step_scratch")(byref(self._x), byref(self._h))
            self._scratch = aligned(scratch, np.uint8)

    @property
    def parameters(self) -> int:
        """Weights, without biases."""
        return self.of_x.parameters + self.of_h.parameters

    def _products(self, x: Array, h: Array) -> tuple[torch.Tensor, torch.Tensor]:
        """Return W x + b for input and state, by torch."""
        pairs = ((self.of_x, x, self.bias_x), (self.of_h, h, self.bias_h))
        first, second = (
            F.linear(torch.from_numpy(value), torch.from_numpy(m.full().reshape(-1, m.columns)), torch.from_numpy(bias))
            for m, value, bias in pairs
        )
        return first, second


class LSTMStep(_Step):
    """One step of an LSTM; gates in torch's order, i f g o.

    Args:
        of_x: weights of the input.
        of_h: weights of the state.
        bias_x: float32 [4 height].
        bias_h: float32 [4 height].
        library: None is the best for this CPU.

    >>> zero = Dense(np.zeros((4, 2, 2), np.float32))
    >>> step = LSTMStep(zero, zero, np.zeros(8, np.float32), np.zeros(8, np.float32))
    >>> h, c = np.zeros(2, np.float32), np.ones(2, np.float32)
    >>> step(np.ones(2, np.float32), h, c)
    >>> c.tolist()
    [0.5, 0.5]
    """

    gates = 4

    def __call__(self, x: Array, h: Array, c: Array) -> None:
        """Replace h and c [height] by the next, given the input x [columns]; all float32."""
        self.bind(x, h, c)()

    def bind(self, x: Array, h: Array, c: Array) -> Callable[[], None]:
        """Return the call for arrays that stay where they are."""
        checked(x, "x", np.float32, (self.of_x.columns,))
        checked(h, "h", np.float32, (self.size,)), checked(c, "c", np.float32, (self.size,))
        if not self.library:
            return lambda: self._by_reference(x, h, c)
        arguments = (byref(self._x), byref(self._h), *map(address, (self.bias, x, h, c, self._scratch)))
        return _call(self.library.function("lstm_step"), arguments, x, h, c, self)

    def reference(self, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
        """Return the next h and c, by torch."""
        i, f, g, o = sum(self._products(x, h)).chunk(4)  # type: ignore[union-attr]
        after = f.sigmoid() * torch.from_numpy(c) + i.sigmoid() * g.tanh()
        return (o.sigmoid() * after.tanh()).numpy(), after.numpy()

    def _by_reference(self, x: Array, h: Array, c: Array) -> None:
        h[:], c[:] = self.reference(x, h, c)


class GRUStep(_Step):
    """One step of a GRU; gates in torch's order, r z n. Arguments as those of :class:`LSTMStep`, of three gates."""

    gates = 3

    def __call__(self, x: Array, h: Array) -> None:
        """Replace h [height] by the next, given the input x [columns]; both float32."""
        self.bind(x, h)()

    def bind(self, x: Array, h: Array) -> Callable[[], None]:
        """Return the call for arrays that stay where they are."""
        checked(x, "x", np.float32, (self.of_x.columns,)), checked(h, "h", np.float32, (self.size,))
        if not self.library:
            return lambda: np.copyto(h, self.reference(x, h))
        arguments = (byref(self._x), byref(self._h), *map(address, (self.bias_x, self.bias_h, x, h, self._scratch)))
        return _call(self.library.function("gru_step"), arguments, x, h, self)

    def reference(self, x: Array, h: Array) -> Array:
        """Return the next h, by torch."""
        (rx, zx, nx), (rh, zh, nh) = (part.chunk(3) for part in self._products(x, h))
        update, fresh = (zx + zh).sigmoid(), (nx + (rx + rh).sigmoid() * nh).tanh()
        return ((1 - update) * fresh + update * torch.from_numpy(h)).numpy()


FORMS: Mapping[type[Factors], Callable[[Any], Weights]] = {
    HybridMatrix: HMD.of,
    LowRankMatrix: LowRank.of,
    PrunedMatrix: Pruned.of,
}


def weights_of(matrix: Factors) -> Weights:
    """Return trained factors in the form that multiplies by them with the least work."""
    return FORMS.get(type(matrix), Dense.of)(matrix)


def _stack(weight: torch.Tensor, gates: int) -> torch.Tensor:
    return weight.detach().float().unflatten(0, (gates, -1)).contiguous()


def packed_rows(library: native.Library, rows: Array) -> Array:
    """Return a matrix [m, n] packed as a convolution of 1 x 1."""
    shape = Geometry((1, 1), rows.shape[1], rows.shape[0]).c
    packed = aligned(library.function("conv_f32_size")(byref(shape)), np.float32)
    contiguous = np.ascontiguousarray(rows)
    library.function("conv_f32_pack")(byref(shape), address(contiguous), address(packed))
    return packed
