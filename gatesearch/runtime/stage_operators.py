"""The C operators of an int8 .tflite program, and the memory that they read and write."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import c_int32, c_void_p
from typing import Any

import numpy as np

from gatesearch._lib.plugins import need
from gatesearch.compile import flatbuffer
from gatesearch.kernels.arrays import LINE, Array, address
from gatesearch.kernels.library import Library, Shape
from gatesearch.runtime.stage_memory import Memory, Tensor, find_runs

CONV, DEPTHWISE, LARGEST, TABLE, MOVE, LARGEST_OF_RUNS, GATED = range(7)  # the kinds of operators in kernels.h
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
        *((name, c_void_p) for name in ("table", "gated")),
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
        # another order.
        self.buffer = self.memory.take(sum(2 * (int(np.prod(t.shape)) + LINE) for t in activations), np.uint8)
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
        """Return the first of new places; the next ones begin on a cache line, or with ``tight`` right behind.

        Raises:
            Unsupported: there is no room for them.
        """
        first = self._used
        self._used += count if tight else -(-count // LINE) * LINE
        if self._used > self.buffer.size:
            raise Unsupported("values that are moved about more often than there is room for")
        self.blocks.append((first, self._used - first))
        return first

    def new(self, tensor: int, axis: int = 0, tight: bool = False) -> Tensor:
        """Return new places for a tensor's values, and remember them.

        Args:
            tensor: index of the tensor.
            axis: the axis along which memory is outermost.
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

    def contiguous(self, tensor: Tensor) -> Array:
        """Return contiguous places of a tensor's values; if needed, add an operator that copies them in order."""
        runs = find_runs(tensor.places)
        if len(runs) == 1:
            return tensor.places
        if len(runs) * LEAST_RUN > tensor.places.size:
            return self.gather(tensor.places.reshape(-1, 1)).reshape(tensor.places.shape)
        places = self._add(MOVE, tensor.places.size, len(runs), runs)
        return places.reshape(tensor.places.shape)

    def gather(self, index: Array, table: Array | None = None) -> Array:
        """Add an operator that reads rows of places; return the places of its outputs, [n].

        Without a table, an output is the largest value of its row. With a table, a row has one value, and the output is
        the table's entry for it.

        Args:
            index: places of the values to read, [n, count]; [n, 1] with a table.
            table: output for each possible byte, uint8 [256]; None for the largest value.
        """
        if table is not None:
            return self._add(TABLE, len(index), 1, index, self.memory.copy(table))
        if len(index) > 1 and (np.diff(index, axis=0) == 1).all():  # each column of places is a run
            return self._add(LARGEST_OF_RUNS, len(index), index.shape[1], index[0])
        return self._add(LARGEST, len(index), index.shape[1], index)

    def _add(self, kind: int, outputs: int, count: int, index: Array, table: Array | None = None) -> Array:
        index, first = self.memory.copy(np.ascontiguousarray(index, np.int32)), self.reserve(outputs)
        operator = COperator(
            kind=kind,
            outputs=outputs,
            count=count,
            x=self.address,
            y=self.address + first,
            index=address(index),
            table=address(table),
        )
        self.operators.append(operator)
        self.owners += [index, table]
        return np.arange(first, first + outputs, dtype=np.int32)

    def fill(self, shape: Sequence[int], value: int) -> Array:
        """Return places that always hold one value, in the given shape."""
        count = int(np.prod(shape))
        first = self.reserve(count)
        self.buffer[first : first + count] = value
        self.fills.append((first, count))
        return np.arange(first, first + count, dtype=np.int32).reshape(shape)
