"""A stage's program as operators of C kernels: operators, constant arrays, layers and the memory of all values."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np

from gatesearch.export.firmware.memory_plan import Range
from gatesearch.kernels.arrays import LINE, Array
from gatesearch.runtime.byte_operators import PlacedLayer
from gatesearch.runtime.byte_parts_program import INPUT, BytePartsProgram
from gatesearch.runtime.hop_kernel import HopKernel
from gatesearch.runtime.stage_operators import COperator, Unsupported

EMPTY = np.zeros(0, np.int32)


@dataclass(frozen=True, slots=True)
class Segment:
    """An array of bytes that operators read and write.

    Args:
        values: the array, uint8.
        blocks: ranges of the array that are reserved separately, in ascending order.
        fills: ranges that always hold the same values.
    """

    values: Array
    blocks: Sequence[Range]
    fills: Sequence[Range] = ()


class ProgramMemory:
    """The memory of a program: its segments one after the other. A place is the index of a byte in this memory.

    Attributes:
        size: bytes of the memory, which is the place of a segment that follows.

    >>> memory = ProgramMemory([Segment(np.zeros(10, np.uint8), [(0, 10)]), Segment(np.ones(4, np.uint8), [(0, 4)])])
    >>> memory.blocks, memory.find(memory.segments[1].values.ctypes.data + 3)
    ([(0, 10), (64, 4)], 67)
    """

    def __init__(self, segments: Sequence[Segment]) -> None:
        self.segments = segments
        sizes = [-(-each.values.size // LINE) * LINE for each in segments]
        *self._starts, self.size = [0, *accumulate(sizes)]
        order = sorted(range(len(segments)), key=lambda k: segments[k].values.ctypes.data)
        self._order = [(segments[k].values.ctypes.data, k) for k in order]
        self.blocks = self._shift([each.blocks for each in segments])
        self.fills = self._shift([each.fills for each in segments])

    def _shift(self, ranges: Sequence[Sequence[Range]]) -> list[Range]:
        pairs = zip(self._starts, ranges, strict=True)
        return [(start + first, length) for start, each in pairs for first, length in each]

    def find(self, address: int) -> int | None:
        """Return the place of an address; None if the address lies outside the memory."""
        k = bisect_right(self._order, address, key=lambda pair: pair[0]) - 1
        if k < 0:
            return None
        first, index = self._order[k]
        inside = address - first < self.segments[index].values.size
        return self._starts[index] + address - first if inside else None

    def place(self, address: int | None) -> int:
        """Return the place of an address in the memory."""
        place = self.find(address or 0)
        assert place is not None  # operators read and write only the program's memory
        return place

    def values(self, range_: Range) -> Array:
        """Return a copy of the bytes in a range that lies in one segment."""
        k = bisect_right(self._starts, range_[0]) - 1
        first = range_[0] - self._starts[k]
        return self.segments[k].values[first : first + range_[1]].copy()


@dataclass(frozen=True)
class CompiledProgram:
    """A program as operators of C kernels.

    Args:
        operators: the operators in order.
        memory: the memory of all values.
        constants: the arrays that operators read, and their scratch memory, by address.
        layers: the layers that kernels run, by the index of their operator.
        input, state: ranges of the input and of the state.
        outputs, next_state: places of the outputs, and of the next hop's state, in order.
    """

    operators: Sequence[COperator]
    memory: ProgramMemory
    constants: Mapping[int, Array]
    input: Range
    outputs: Array
    state: Range = (0, 0)
    next_state: Array = field(default_factory=lambda: EMPTY)
    layers: Mapping[int, PlacedLayer] = field(default_factory=dict)


def read_kernel(kernel: HopKernel) -> CompiledProgram:
    """Return the program of a stage whose .tflite file kernels run."""
    operators, c = kernel.operators, kernel.c
    constants = _by_address([each for each in operators.owners if isinstance(each, np.ndarray)])
    return CompiledProgram(
        operators=operators.operators,
        memory=ProgramMemory([Segment(operators.buffer, operators.blocks, operators.fills)]),
        constants=constants,
        input=(0, c.size),
        state=(c.state - operators.address, c.n_state),
        outputs=spread_runs(constants[c.out_runs]),
        next_state=spread_runs(constants[c.state_runs]) if c.n_state else EMPTY,
    )


def read_parts(program: BytePartsProgram) -> CompiledProgram:
    """Return the program of a stage in int8 parts.

    Raises:
        Unsupported: no kernel runs one of the parts.
    """
    if program.interpreted:
        raise Unsupported(program.interpreted[0])
    [call] = program.calls
    segments = [Segment(each.buffer, each.blocks, each.fills) for each in call.programs]
    segments += [Segment(each.reshape(-1), [(0, each.size)]) for each in program.values.values()]
    memory = ProgramMemory(segments)
    arrays = [each for part in call.programs for each in part.owners if isinstance(each, np.ndarray)]
    for layer, _ in call.layers.values():
        arrays += [*layer.constants, layer.scratch]
    source, results = program.values[INPUT], program.results
    return CompiledProgram(
        operators=call.operators,
        memory=memory,
        constants=_by_address([*arrays, *call.runs]),
        input=(memory.place(source.ctypes.data), source.size),
        outputs=np.concatenate([memory.place(each.ctypes.data) + np.arange(each.size) for each in results]),
        layers=call.layers,
    )


def spread_runs(runs: Array) -> Array:
    """Return the places that runs cover, int32 [n]; a run is a pair of its first place and its length.

    >>> spread_runs(np.array([[4, 2], [0, 1]])).tolist()
    [4, 5, 0]
    """
    return np.concatenate([np.arange(first, first + length, dtype=np.int32) for first, length in runs])


def _by_address(arrays: Sequence[Array]) -> dict[int, Array]:
    return {each.ctypes.data: each for each in arrays if each.size}
