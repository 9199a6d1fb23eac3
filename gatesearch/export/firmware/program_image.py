"""A program of a stage as firmware runs it: its operators, its constant arrays and the memory that it needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ctypes import c_void_p
from dataclasses import dataclass

import numpy as np

from gatesearch.export.firmware.compiled_program import CompiledProgram
from gatesearch.export.firmware.memory_plan import Group, Lifetimes, Range
from gatesearch.gates import BLOCK
from gatesearch.kernels.arrays import Array
from gatesearch.kernels.geometry import output_size
from gatesearch.runtime.stage_memory import find_runs
from gatesearch.runtime.stage_operators import (
    CONV,
    DEPTHWISE,
    GATED,
    LARGEST_OF_RUNS,
    MOVE,
    RECURRENCE,
    COperator,
)

BEFORE = -1  # the step before the first operator, at which the input and the state are written


@dataclass(frozen=True, slots=True)
class Access:
    """The memory that an operator reads and writes, as ranges of bytes from the start of its program's memory."""

    inputs: Sequence[Range]
    output: Range


class ProgramImage:
    """The parts of a compiled program that firmware contains.

    Args:
        program: the program, compiled for the kernels of this host.

    Attributes:
        operators: the C operators in order.
        layers: the layers that kernels run, by the index of their operator.
        input, state: ranges of the input and of the state.
        outputs, next_state: places of the outputs, and of the next hop's state, in order.
        fills: ranges that always hold the same values.
    """

    def __init__(self, program: CompiledProgram) -> None:
        self._program, self._memory = program, program.memory
        self.operators, self.layers = program.operators, program.layers
        self.input, self.state = program.input, program.state
        self.outputs, self.next_state = program.outputs, program.next_state
        self.fills = tuple(program.memory.fills)

    def array(self, address: int | None) -> Array:
        """Return the constant array at an address."""
        assert address is not None
        return self._program.constants[address]

    @property
    def scratch_bytes(self) -> int:
        """Bytes of scratch memory that the operators, and the copy of the next state, need while the program runs."""
        arrays = [self.array(each.scratch) for each in self.operators if each.scratch]
        return max([self.state[1], *(each.nbytes for each in arrays)])

    @property
    def steps(self) -> int:
        """The largest number of steps of a convolution; a step multiplies 16 input channels at one tap."""
        return max((weights.size // (BLOCK * BLOCK * blocks) for weights, blocks in self._convolutions()), default=0)

    @property
    def blocks(self) -> int:
        """The largest number of blocks of 16 output channels of a convolution."""
        return max((blocks for _, blocks in self._convolutions()), default=0)

    def _convolutions(self) -> list[tuple[Array, int]]:
        """Return the packed weights of each convolution, and its number of blocks of 16 output channels."""
        addresses = [(each.weights, each.shape.c_out) for each in self.operators if each.kind == CONV]
        for index, (_, struct) in self.layers.items():
            addresses.append((getattr(struct, "packed", None), self.operators[index].shape.c_out))
        return [(self.array(weights), -(-channels // BLOCK)) for weights, channels in addresses if weights]

    def find_place(self, address: int) -> int | None:
        """Return the place of an address; None if the address lies outside the program's memory."""
        return self._memory.find(address)

    def values(self, range_: Range) -> Array:
        """Return the bytes that a range holds before the first run."""
        return self._memory.values(range_)

    def index(self, operator: COperator) -> Array:
        """Return the places that an operator's index names; a copy's index holds runs of places."""
        index = self.array(operator.index).copy()
        first = self._memory.place(operator.x)
        if operator.kind == MOVE:
            index[:, 0] += first
            return index
        return index + first

    def access(self, operator: COperator) -> Access:
        """Return the memory that an operator reads and writes."""
        place = self._memory.place
        if operator.kind in (CONV, DEPTHWISE):
            c = operator.shape
            height, width = output_size([int(getattr(c, name)) for name, _ in c._fields_])
            return Access([(place(operator.x), c.h * c.w * c.c_in)], (place(operator.y), height * width * c.c_out))
        output = (place(operator.y), operator.outputs)
        if operator.kind in (GATED, RECURRENCE):
            return Access([(place(operator.x), operator.count)], output)
        if not operator.index:  # the operator reads as many values as it writes, in the same order
            pointers = [address for name, address in walk_pointers(operator) if name != "y"]
            places = [at for address in pointers if (at := self.find_place(address)) is not None]
            return Access([(at, operator.outputs) for at in places], output)
        index = self.index(operator)
        if operator.kind == MOVE:
            runs = [(int(first), int(length)) for first, length in index]
            return Access(runs, (output[0], sum(length for _, length in runs)))
        if operator.kind == LARGEST_OF_RUNS or getattr(operator, "of_runs", 0):
            return Access([(int(first), operator.outputs) for first in index.ravel()], output)
        return Access([(int(first), int(length)) for first, length in find_runs(np.unique(index))], output)

    def lifetimes(self) -> Lifetimes:
        """Return the steps at which the program uses each block of memory."""
        last = len(self.operators)
        lifetimes = Lifetimes(self._memory.blocks)
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
        temporary: list[Group] = []
        lasting: list[Group] = []
        for group in self.lifetimes().groups():
            holds = any(group.first <= first < group.first + group.size for first, _ in lasting_ranges)
            (lasting if holds else temporary).append(group)
        return temporary, lasting


def walk_pointers(operator: COperator) -> Iterator[tuple[str, int]]:
    """Yield the name of the field and the address of each pointer of an operator that is not null."""
    for name, kind, *_ in operator._fields_:
        value = getattr(operator, name)
        if kind is c_void_p and value:
            yield name, value
