"""A program of a stage as firmware runs it: its operators, its constant arrays and the memory that it needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ctypes import c_void_p
from dataclasses import dataclass

import numpy as np

from gatesearch.export.firmware.memory_plan import Group, Lifetimes, Range
from gatesearch.gates import BLOCK
from gatesearch.kernels.arrays import Array
from gatesearch.kernels.geometry import output_size
from gatesearch.runtime.hop_kernel import HopKernel
from gatesearch.runtime.stage_memory import find_runs
from gatesearch.runtime.stage_operators import CONV, DEPTHWISE, LARGEST_OF_RUNS, MOVE, COperator

BEFORE = -1  # the step before the first operator, at which the input and the state are written


@dataclass(frozen=True, slots=True)
class Access:
    """The memory that an operator reads and writes, as ranges of bytes from the start of its program's memory."""

    inputs: Sequence[Range]
    output: Range


class ProgramImage:
    """The parts of a compiled program that firmware contains.

    A place is the index of a byte in the program's own memory, which holds all its tensors.

    Args:
        kernel: the program, compiled for the kernels of this host.

    Attributes:
        operators: the C operators in order.
        input, state: ranges of the input and of the state.
        outputs, next_state: places of the outputs, and of the next hop's state, in order.
        fills: ranges that always hold the same values.
    """

    def __init__(self, kernel: HopKernel) -> None:
        self._list, c = kernel.operators, kernel.c
        self.operators: Sequence[COperator] = self._list.operators
        arrays = [each for each in self._list.owners if isinstance(each, np.ndarray) and each.size]
        self._arrays = {each.ctypes.data: each for each in arrays}
        self.input: Range = (0, c.size)
        self.state: Range = (c.state - self._list.address, c.n_state)
        self.outputs = spread_runs(self.array(c.out_runs))
        self.next_state = spread_runs(self.array(c.state_runs)) if c.n_state else np.zeros(0, np.int32)
        self.fills = tuple(self._list.fills)

    def array(self, address: int | None) -> Array:
        """Return the constant array at an address."""
        assert address is not None
        return self._arrays[address]

    @property
    def scratch_bytes(self) -> int:
        """Bytes of scratch memory that the operators, and the copy of the next state, need while the program runs."""
        arrays = [self.array(each.scratch) for each in self.operators if each.scratch]
        return max([self.state[1], *(each.nbytes for each in arrays)])

    @property
    def steps(self) -> int:
        """The largest number of steps of a convolution; a step multiplies 16 input channels at one tap."""
        return max((self._products(each) // blocks for each, blocks in self._convolutions()), default=0)

    @property
    def blocks(self) -> int:
        """The largest number of blocks of 16 output channels of a convolution."""
        return max((blocks for _, blocks in self._convolutions()), default=0)

    def _convolutions(self) -> list[tuple[COperator, int]]:
        """Return the convolutions, each with its number of blocks of 16 output channels."""
        return [(each, -(-each.shape.c_out // BLOCK)) for each in self.operators if each.kind == CONV]

    def _products(self, convolution: COperator) -> int:
        """Return the number of products of 16 input channels at one tap with 16 output channels."""
        return int(self.array(convolution.weights).size) // (BLOCK * BLOCK)

    def find_place(self, address: int) -> int | None:
        """Return the place of an address; None if the address lies outside the program's memory."""
        place = address - self._list.address
        return place if 0 <= place < self._list.buffer.size else None

    def values(self, range_: Range) -> Array:
        """Return the bytes that a range holds before the first run."""
        first, length = range_
        return self._list.buffer[first : first + length].copy()

    def access(self, operator: COperator) -> Access:
        """Return the memory that an operator reads and writes."""
        if operator.kind in (CONV, DEPTHWISE):
            c = operator.shape
            height, width = output_size([int(getattr(c, name)) for name, _ in c._fields_])
            return Access(
                [(self._place(operator.x), c.h * c.w * c.c_in)], (self._place(operator.y), height * width * c.c_out)
            )
        output = (self._place(operator.y), operator.outputs)
        if not operator.index:  # the operator reads as many values as it writes, in the same order
            pointers = [address for name, address in walk_pointers(operator) if name != "y"]
            places = [place for address in pointers if (place := self.find_place(address)) is not None]
            return Access([(place, operator.outputs) for place in places], output)
        index = self.array(operator.index)
        if operator.kind == MOVE:
            runs = [(int(first), int(length)) for first, length in index]
            return Access(runs, (output[0], sum(length for _, length in runs)))
        if operator.kind == LARGEST_OF_RUNS or getattr(operator, "of_runs", 0):
            return Access([(int(first), operator.outputs) for first in index.ravel()], output)
        return Access([(int(first), int(length)) for first, length in find_runs(np.unique(index))], output)

    def _place(self, address: int | None) -> int:
        place = self.find_place(address or 0)
        assert place is not None  # operators read and write only the program's memory
        return place

    def lifetimes(self) -> Lifetimes:
        """Return the steps at which the program uses each block of memory."""
        last = len(self.operators)
        lifetimes = Lifetimes(self._list.blocks)
        for each in (self.input, self.state):
            lifetimes.use(each, BEFORE)
        for step, operator in enumerate(self.operators):
            access = self.access(operator)
            for each in (*access.inputs, access.output):
                lifetimes.use(each, step)
        for places in (self.outputs, self.next_state):
            for first, length in find_runs(places):
                lifetimes.use((int(first), int(length)), last)
        return lifetimes

    def split_groups(self) -> tuple[list[Group], list[Group]]:
        """Return the groups whose values last for one run, and the groups whose values last from hop to hop."""
        lasting_ranges = [each for each in (self.state, *self.fills) if each[1]]
        passing: list[Group] = []
        lasting: list[Group] = []
        for group in self.lifetimes().groups():
            holds = any(group.first <= first < group.first + group.size for first, _ in lasting_ranges)
            (lasting if holds else passing).append(group)
        return passing, lasting


def spread_runs(runs: Array) -> Array:
    """Return the places that runs cover, int32 [n]; a run is a pair of its first place and its length.

    >>> spread_runs(np.array([[4, 2], [0, 1]])).tolist()
    [4, 5, 0]
    """
    return np.concatenate([np.arange(first, first + length, dtype=np.int32) for first, length in runs])


def walk_pointers(operator: COperator) -> Iterator[tuple[str, int]]:
    """Yield the name of the field and the address of each pointer of an operator that is not null."""
    for name, kind, *_ in operator._fields_:
        value = getattr(operator, name)
        if kind is c_void_p and value:
            yield name, value
