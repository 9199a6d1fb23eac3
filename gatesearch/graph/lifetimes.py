"""The memory of a program's tensors: a planner that places them in one arena by their lifetimes.

A tensor lives from the operator that writes it to the last operator that reads it. Tensors that live at the same time
may not overlap. The planner works like the greedy planner of TensorFlow Lite Micro (greedy_memory_planner.cc). It
places larger tensors before smaller ones. Of equally large tensors, it first places those of the last group (see
:class:`Lifetime`), and within a group the one that is written last. Each tensor goes to the lowest address where it
fits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

ALIGNMENT_BYTES = 16
OWN, CONVERTED, SCRATCH = range(3)


class Lifetime(NamedTuple):
    """The time for which a tensor is in memory, in steps of a program.

    Args:
        size_bytes: size of the tensor.
        first: first step at which the tensor is in memory.
        last: last step at which the tensor is in memory.
        is_temporary: whether the tensor serves one operator alone, such as a padded copy of its input.
        group: :data:`OWN` for tensors of the network, :data:`CONVERTED` for tensors that the quantiser appends to the
            file, and :data:`SCRATCH` for buffers that operators request last.
    """

    size_bytes: int
    first: int
    last: int
    is_temporary: bool = False
    group: int = OWN


def plan_arena(lifetimes: Iterable[Lifetime]) -> int:
    """Return the size in bytes of the arena that holds all tensors.

    >>> plan_arena([Lifetime(100, 0, 1), Lifetime(50, 1, 2), Lifetime(90, 2, 3)])
    176
    """
    placed: list[tuple[int, int, Lifetime]] = []  # begin, end
    for tensor in sorted(lifetimes, key=lambda each: (-each.size_bytes, -each.group, -each.first)):
        size = -(-tensor.size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
        begin = 0
        for other_begin, other_end, other in placed:  # by address
            if other.first <= tensor.last and tensor.first <= other.last:
                if begin + size <= other_begin:
                    break
                begin = max(begin, other_end)
        placed.append((begin, begin + size, tensor))
        placed.sort(key=lambda place: place[:2])
    return max((end for _, end, _ in placed), default=0)


def join_lifetimes(programs: Iterable[Sequence[Lifetime]]) -> list[Lifetime]:
    """Return the lifetimes of several programs joined into one; each program reads the result of the program before it.

    >>> first = [Lifetime(100, 0, 1), Lifetime(50, 1, 2)]
    >>> [each[:3] for each in join_lifetimes([first, first])]
    [(100, 0, 1), (100, 1, 3), (50, 3, 4)]
    """
    joined: list[Lifetime] = []
    end = 0
    for program in programs:
        moved = [each._replace(first=each.first + end, last=each.last + end) for each in program]
        if joined and moved:
            before = next((each for each in joined if each.last == end and not each.is_temporary), None)
            entering = next((each for each in moved if each.first == end and not each.is_temporary), None)
            if before is not None and entering is not None:
                size = max(before.size_bytes, entering.size_bytes)
                moved[moved.index(entering)] = Lifetime(size, before.first, entering.last)
                joined.remove(before)
        joined += moved
        end = max((each.last for each in joined), default=end)
    return joined
