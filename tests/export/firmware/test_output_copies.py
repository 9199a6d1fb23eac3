"""Outputs that are copied out of large tensors keep their values, and leave the memory of the tensors to others."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gatesearch.export.firmware.compiled_program import CompiledProgram, ProgramMemory, Segment
from gatesearch.export.firmware.memory_plan import place_groups
from gatesearch.export.firmware.output_copies import copy_outputs
from gatesearch.export.firmware.program_image import ProgramImage
from gatesearch.kernels.arrays import LINE, Array, aligned_zeros
from gatesearch.runtime.stage_operators import MOVE, COperator

TENSORS = st.lists(st.integers(1, 300), min_size=2, max_size=8).map(lambda sizes: sorted(sizes, reverse=True))


def build_chain(sizes: list[int], shares: list[float]) -> CompiledProgram:
    """Return a program whose tensors each are the end of the one before; its outputs are the end of each tensor."""
    starts = np.cumsum([0, *(-(-size // LINE) * LINE for size in sizes)])
    buffer = aligned_zeros(int(starts[-1]), np.uint8)
    constants, operators = {}, []
    for k, (before, size) in enumerate(pairwise(sizes)):
        runs = np.array([[starts[k] + before - size, size]], np.int32)
        constants[runs.ctypes.data] = runs
        operator = COperator(kind=MOVE, outputs=size, count=1)
        operator.x, operator.index = buffer.ctypes.data, runs.ctypes.data
        operator.y = buffer.ctypes.data + int(starts[k + 1])
        operators.append(operator)
    ends = [
        start + size - np.arange(round(share * size), 0, -1)
        for start, size, share in zip(starts[:-1], sizes, shares, strict=True)
    ]
    memory = ProgramMemory([Segment(buffer, [(int(s), size) for s, size in zip(starts, sizes, strict=False)])])
    outputs = np.concatenate(ends).astype(np.int32)
    return CompiledProgram(operators, memory, constants, input=(0, sizes[0]), outputs=outputs)


def run(image: ProgramImage, memory: ProgramMemory, values: Array) -> Array:
    """Run the copies of a program on its input, and return its outputs."""
    state = np.zeros(memory.size, np.uint8)
    state[: len(values)] = values
    for operator in image.operators:
        copied = np.concatenate([state[first : first + length] for first, length in image.index(operator)])
        place = memory.place(operator.y)
        state[place : place + len(copied)] = copied
    outputs: Array = state[image.outputs]
    return outputs


def count_arena(image: ProgramImage) -> int:
    return place_groups(image.split_groups()[0])[1]


@given(sizes=TENSORS, data=st.data())
def test_a_program_with_copies_has_the_same_outputs(sizes: list[int], data: st.DataObject) -> None:
    shares = data.draw(st.lists(st.floats(0, 1), min_size=len(sizes), max_size=len(sizes)))
    program = build_chain(sizes, shares)
    copied = copy_outputs(program)
    values = np.random.default_rng(0).integers(0, 256, sizes[0]).astype(np.uint8)
    outputs = [run(ProgramImage(each), each.memory, values) for each in (program, copied)]
    np.testing.assert_array_equal(*outputs)


def test_the_memory_of_tensors_is_shared_if_their_last_rows_are_copied() -> None:
    program = build_chain([1000, 980, 960, 940, 920, 900], [0.0, 0.1, 0.1, 0.1, 0.1, 0.1])
    before, after = (count_arena(ProgramImage(each)) for each in (program, copy_outputs(program)))
    assert before >= 4 * 900 and after <= 2 * 1024 + 5 * 128
