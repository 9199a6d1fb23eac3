"""Copies the outputs of a program out of large tensors, so that the memory of these tensors is free for later ones.

The state that a catch-up leaves consists of the last frames of many tensors. The program's outputs are read at its end,
so each of these tensors would keep its memory until then.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gatesearch.export.firmware.compiled_program import CompiledProgram, ProgramMemory, Segment
from gatesearch.export.firmware.memory_plan import Group
from gatesearch.export.firmware.program_image import ProgramImage
from gatesearch.kernels.arrays import Array, aligned_zeros
from gatesearch.runtime.stage_memory import find_runs
from gatesearch.runtime.stage_operators import MOVE, COperator

SMALL_SHARE = 0.5  # largest share of a tensor that is copied; a copy of more saves too little


def copy_outputs(program: CompiledProgram) -> CompiledProgram:
    """Return the program with a copy of outputs behind the operator that computes them, for each tensor that gains.

    A tensor gains if at most :data:`SMALL_SHARE` of it are outputs, and if operators still follow.
    """
    assert not program.layers  # the indices of layers would change; outputs of parts have memory of their own
    image = ProgramImage(program)
    outputs, after, segments = program.outputs.copy(), dict[int, list[COperator]](), list[Segment]()
    constants, segment_place = dict(program.constants), ProgramMemory(program.memory.segments).size
    for group in image.lifetimes().groups():
        places = np.unique(program.outputs[_inside(program.outputs, group)])
        step = _last_write(image, group)
        if step is None or step + 1 >= len(program.operators) or not 0 < len(places) <= SMALL_SHARE * group.size:
            continue
        copy, runs = aligned_zeros(len(places), np.uint8), find_runs(places)
        constants[runs.ctypes.data] = runs
        operator = COperator(kind=MOVE, outputs=len(places), count=len(runs))
        operator.x, operator.y = program.memory.segments[0].values.ctypes.data, copy.ctypes.data
        operator.index = runs.ctypes.data
        after.setdefault(step, []).append(operator)
        segments.append(Segment(copy, [(0, copy.size)]))
        moved = _inside(program.outputs, group)
        outputs[moved] = segment_place + np.searchsorted(places, program.outputs[moved])
        segment_place = ProgramMemory([*program.memory.segments, *segments]).size
    operators = [each for step, one in enumerate(program.operators) for each in (one, *after.get(step, ()))]
    memory = ProgramMemory([*program.memory.segments, *segments])
    return replace(program, operators=operators, memory=memory, constants=constants, outputs=outputs)


def _inside(places: Array, group: Group) -> Array:
    inside: Array = (places >= group.first) & (places < group.first + group.size)
    return inside


def _last_write(image: ProgramImage, group: Group) -> int | None:
    """Return the last step that writes into a group; None if no operator does, as for the input."""
    writes = [
        step
        for step, operator in enumerate(image.operators)
        if group.first <= image.access(operator).output[0] < group.first + group.size
    ]
    return max(writes, default=None)
