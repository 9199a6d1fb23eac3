"""The C operators of an int8 .tflite program, and the memory that they read and write.

A place is the index of a value in the buffer that all tensors share (:mod:`gatesearch.runtime.stage_memory`). A run is
a range of consecutive places.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import c_float, c_int32, c_void_p
from typing import Any

import numpy as np

from gatesearch._lib.plugins import need
from gatesearch.compile import flatbuffer
from gatesearch.kernels.arrays import LINE, Array, address
from gatesearch.kernels.library import Library, Shape
from gatesearch.runtime.stage_memory import Memory, Tensor, find_runs

# the kinds of operators in kernels.h
CONV, DEPTHWISE, LARGEST, TABLE, MOVE, LARGEST_OF_RUNS, GATED, SUM, PRODUCT, MEAN, AVERAGE, RECURRENCE = range(12)
SIGNED = 128  # kernels store an int8 value as an unsigned byte: the value plus 128
LEAST_RUN = 4  # mean length of runs from which copying runs is faster than reading each value by its place


class Unsupported(ValueError):
    """A program with an operator that no kernel computes; the message is one line."""


class COperator(ctypes.Structure):
    """The C struct ``gs_op`` of kernels.h: one operator of a stage."""

    _fields_ = (
        *((name, c_int32) for name in ("kind", "zero", "zero_out", "outputs", "count")),
        ("shape", Shape),
        *((name, c_void_p) for name in ("x", "y", "weights", "sums", "bias", "index", "scale", "shift", "scratch")),
        *((name, c_void_p) for name in ("table", "gated", "recurrence", "z")),
        *((name, c_int32) for name in ("zero_z", "low", "high", "factor", "factor_z", "start", "bits", "of_runs")),
        *((name, c_float) for name in ("ratio", "offset")),
    )


class OperatorList:
    """The operators of a program in order, with all arrays that C reads.

    Args:
        model: content of an int8 .tflite file.
        library: the C kernels that run the operators.

    Attributes:
        graph: the program's subgraph.
        memory: the block from which arrays are taken.
        buffer: the values of all tensors, uint8.
        operators: the operators so far.
        tensors: the tensors so far, by index.
        padded: tensors that are another tensor with padding: the index of that tensor, and the padding (height, width).
        blocks: the reserved blocks of the buffer in order: the first place and the number of places of each.
        fills: the ranges (first place, number of places) that always hold the same values.
    """

    def __init__(self, model: bytes, library: Library) -> None:
        need("a stage by kernels", "ai_edge_litert")
        from ai_edge_litert import schema_py_generated as schema

        self.file, self.schema, self.library = flatbuffer.read(model), schema, library
        self.graph, self._buffers = self.file.subgraphs[0], self.file.buffers
        self.operators: list[COperator] = []
        self.owners: list[Any] = []  # objects whose memory C reads; they live as long as the stage
        self.tensors: dict[int, Tensor] = {}
        self.padded: dict[int, tuple[int, tuple[int, int]]] = {}
        self.memory = Memory()
        activations = [t for t in self.graph.tensors if self._buffers[t.buffer].data is None]
        # Each tensor has room for its values twice, on cache lines of its own, because an operator may store a copy in
        # another order. An operator on several tensors may store a copy of each operand in the size of its output.
        results = [
            self.graph.tensors[int(operator.outputs[0])]
            for operator in self.graph.operators
            for _ in operator.inputs[1:]
        ]
        self.buffer = self.memory.take(
            sum(2 * (int(np.prod(t.shape)) + LINE) for t in [*activations, *results]), np.uint8
        )
        self.blocks: list[tuple[int, int]] = []
        self.fills: list[tuple[int, int]] = []
        self._used = 0

    @property
    def address(self) -> int:
        """Address of the values of all tensors."""
        return int(self.buffer.ctypes.data)

    def as_array(self) -> ctypes.Array[COperator]:
        """Return the operators in order, as C reads them; a copy."""
        return (COperator * len(self.operators))(*self.operators)

    def find(self, name: str) -> int:
        """Return the index of the tensor with a name."""
        return {tensor.name.decode(): i for i, tensor in enumerate(self.graph.tensors)}[name]

    def reserve(self, count: int, tight: bool = False) -> int:
        """Reserve ``count`` places and return the first; with ``tight``, the next reserved place follows without a gap.

        Without ``tight``, it is the first place of a cache line.

        Raises:
            Unsupported: the reserved memory is too small for them.
        """
        first = self._used
        self._used += count if tight else -(-count // LINE) * LINE
        if self._used > self.buffer.size:
            raise Unsupported("copies of values that need more memory than is reserved")
        self.blocks.append((first, self._used - first))
        return first

    def new(self, tensor: int, axis: int = 0, tight: bool = False) -> Tensor:
        """Return new places for a tensor's values, and store them in :attr:`tensors`.

        Args:
            tensor: index of the tensor.
            axis: the outermost axis in memory, whose neighbours are farthest apart; the other axes keep their order.
            tight: whether the next tensor follows without a gap.
        """
        tensor_info = self.graph.tensors[tensor]
        if tensor_info.type != self.schema.TensorType.INT8:
            raise Unsupported(f"{tensor_info.name.decode()} is not int8")
        shape = list(map(int, tensor_info.shape))
        order = [shape[axis], *shape[:axis], *shape[axis + 1 :]]
        count = int(np.prod(shape))
        first = self.reserve(count, tight)
        places = np.moveaxis(np.arange(first, first + count, dtype=np.int32).reshape(order), 0, axis)
        scale, zero = self.grid(tensor)
        self.tensors[tensor] = Tensor(places, scale[0], zero)
        return self.tensors[tensor]

    def grid(self, tensor: int) -> tuple[Array, int]:
        """Return the scales of a tensor, a single one or one per channel, and the byte that represents 0."""
        quantisation = self.graph.tensors[tensor].quantization
        return quantisation.scale.astype(np.float32), int(quantisation.zeroPoint[0]) + SIGNED

    def constant(self, tensor: int, dtype: type) -> Array:
        """Return the values of a constant tensor."""
        tensor_info = self.graph.tensors[tensor]
        data = self._buffers[tensor_info.buffer].data
        if data is None:
            raise Unsupported(f"{tensor_info.name.decode()} is no constant")
        return np.frombuffer(bytes(data), dtype).reshape([int(n) for n in tensor_info.shape])

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Return the shape of a tensor."""
        return tuple(map(int, self.graph.tensors[tensor].shape))

    def operand(self, tensor: int) -> Tensor:
        """Return a tensor, or places that always hold the values of a constant one."""
        if tensor not in self.tensors:
            values = self.constant(tensor, np.int8)
            scale, zero = self.grid(tensor)
            places = self.fill(values.shape, values.view(np.uint8).ravel() ^ SIGNED)
            self.tensors[tensor] = Tensor(places, scale[0], zero)
        return self.tensors[tensor]

    def contiguous(self, places: Array) -> Array:
        """Return contiguous places of the values at some places; if needed, add an operator that copies them."""
        runs = find_runs(places)
        if len(runs) == 1:
            return places
        if len(runs) * LEAST_RUN > places.size:
            return self.gather(places.reshape(-1, 1)).reshape(places.shape)
        return self._add(MOVE, places.size, len(runs), runs).reshape(places.shape)

    def gather(self, index: Array, table: Array | None = None) -> Array:
        """Add an operator that reads rows of places; return the places of its outputs, [n].

        Without a table, an output is the largest value of its row. With a table, a row has one value, and the output is
        the table's entry for it.

        Args:
            index: places of the values to read, [n, count]; [n, 1] with a table.
            table: output for each possible byte, uint8 [256]; None for the largest value.
        """
        if table is not None:
            return self._add(TABLE, len(index), 1, index, table=self.memory.copy(table))
        if is_of_runs(index):
            return self._add(LARGEST_OF_RUNS, len(index), index.shape[1], index[0])
        return self._add(LARGEST, len(index), index.shape[1], index)

    def reduce(self, kind: int, index: Array, **fields: Any) -> Array:
        """Add an operator that computes a value of each row of places; return the places of its outputs, [n].

        Args:
            kind: MEAN or AVERAGE.
            index: places of the values to read, [n, count].
            **fields: other fields of the operator.
        """
        of_runs = is_of_runs(index)
        scratch = self.memory.take(len(index), np.int32)
        rows = index[0] if of_runs else index
        return self._add(kind, len(index), index.shape[1], rows, scratch=scratch, of_runs=of_runs, **fields)

    def combine(self, kind: int, x: Array, z: Array, **fields: Any) -> Array:
        """Add an operator on two runs of places; return the places of its outputs, [n].

        Args:
            kind: SUM or PRODUCT.
            x, z: contiguous places, [n].
            **fields: other fields of the operator.
        """
        first = self.reserve(len(x))
        start, start_z = self.address + int(x[0]), self.address + int(z[0])
        self._append(kind, len(x), 1, x=start, y=self.address + first, z=start_z, **fields)
        return np.arange(first, first + len(x), dtype=np.int32)

    def _add(self, kind: int, outputs: int, count: int, index: Array, **fields: Any) -> Array:
        index, first = self.memory.copy(np.ascontiguousarray(index, np.int32)), self.reserve(outputs)
        self._append(kind, outputs, count, x=self.address, y=self.address + first, index=index, **fields)
        return np.arange(first, first + outputs, dtype=np.int32)

    def _append(self, kind: int, outputs: int, count: int, **fields: Any) -> None:
        """Append an operator; a field that is an array becomes its address."""
        arrays = [value for value in fields.values() if isinstance(value, np.ndarray)]
        plain = {name: address(value) if isinstance(value, np.ndarray) else value for name, value in fields.items()}
        self.operators.append(COperator(kind=kind, outputs=outputs, count=count, **plain))
        self.owners += arrays

    def fill(self, shape: Sequence[int], values: int | Array) -> Array:
        """Return places that always hold the same values, in the given shape."""
        count = int(np.prod(shape))
        first = self.reserve(count)
        self.buffer[first : first + count] = values
        self.fills.append((first, count))
        return np.arange(first, first + count, dtype=np.int32).reshape(shape)


def is_of_runs(index: Array) -> bool:
    """Return whether each column of places [n, count] is one run of at least two places.

    >>> is_of_runs(np.array([[0, 9], [1, 10]])), is_of_runs(np.array([[0, 1], [2, 3]]))
    (True, False)
    """
    return len(index) > 1 and bool((np.diff(index, axis=0) == 1).all())
