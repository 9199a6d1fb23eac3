"""Plans the working memory of firmware: blocks that are never needed at the same time share their bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from gatesearch.kernels.arrays import Array

ALIGNMENT = 16  # bytes; vector loads of the largest microcontrollers
Range = tuple[int, int]
"""A range of bytes: where it begins, and its length."""


@dataclass
class Lifetimes:
    """The blocks of memory that a program reserves, and the steps at which it uses each.

    A program's operators are its steps. If an access reaches over several blocks, these blocks count as one, because
    they have to stay side by side.

    Args:
        blocks: the reserved blocks in ascending order.

    >>> lifetimes = Lifetimes([(0, 64), (64, 64), (128, 64)])
    >>> lifetimes.use((0, 10), step=0)
    >>> lifetimes.use((64, 128), step=1)
    >>> [(group.first, group.size, group.steps) for group in lifetimes.groups()]
    [(0, 64, (0, 0)), (64, 128, (1, 1))]
    """

    blocks: Sequence[Range]
    _joined: list[int] = field(init=False)
    _steps: dict[int, tuple[int, int]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._starts = np.array([first for first, _ in self.blocks])
        self._joined = list(range(len(self.blocks)))

    def use(self, range_: Range, step: int) -> None:
        """Record that a step reads or writes a range."""
        first, length = range_
        if not length:
            return
        low, high = (int(np.searchsorted(self._starts, at, "right")) - 1 for at in (first, first + length - 1))
        root = self._root(low)
        for block in range(low + 1, high + 1):
            self._joined[self._root(block)] = root
        earlier = self._steps.get(low, (step, step))
        self._steps[low] = min(step, earlier[0]), max(step, earlier[1])

    def _root(self, block: int) -> int:
        while self._joined[block] != block:
            block = self._joined[block]
        return block

    def groups(self) -> list[Group]:
        """Return the used blocks in ascending order; blocks that have to stay side by side form one group."""
        members: dict[int, list[int]] = {}
        for block in range(len(self.blocks)):
            members.setdefault(self._root(block), []).append(block)
        groups = []
        for blocks in members.values():
            steps = [self._steps[block] for block in blocks if block in self._steps]
            if not steps:
                continue
            first, (last, size) = self.blocks[blocks[0]][0], self.blocks[blocks[-1]]
            span = min(low for low, _ in steps), max(high for _, high in steps)
            groups.append(Group(first, last + size - first, span))
        return groups


@dataclass(frozen=True, slots=True)
class Group:
    """Neighbouring blocks of memory that stay side by side wherever they are placed.

    Args:
        first: where the group begins in the program's own memory.
        size: length of the group in bytes.
        steps: the first and the last step that uses the group.
    """

    first: int
    size: int
    steps: tuple[int, int]


def place_groups(groups: Sequence[Group]) -> tuple[list[int], int]:
    """Return the new place of each group, and the bytes that all groups need together.

    The largest group is placed first. Each group takes the lowest place where it does not overlap a group that is used
    at the same time. TensorFlow Lite Micro places tensors by the same rule (``GreedyMemoryPlanner``).

    >>> place_groups([Group(0, 100, (0, 1)), Group(100, 40, (1, 2)), Group(140, 90, (2, 3))])
    ([0, 112, 0], 152)
    """
    places = [0] * len(groups)
    placed: list[int] = []
    for index in sorted(range(len(groups)), key=lambda i: (-groups[i].size, groups[i].first)):
        group, at = groups[index], 0
        overlapping = [other for other in placed if _overlap(groups[other].steps, group.steps)]
        for other in sorted(overlapping, key=lambda i: places[i]):
            if places[other] >= at + group.size:
                break
            at = max(at, align(places[other] + groups[other].size))
        places[index] = at
        placed.append(index)
    return places, max((places[i] + group.size for i, group in enumerate(groups)), default=0)


def align(size: int) -> int:
    """Return a size, rounded up to a multiple of the alignment."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def _overlap(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return a[0] <= b[1] and b[0] <= a[1]


@dataclass(frozen=True, slots=True)
class Relocation:
    """Moves places from a program's own memory to the memory of firmware.

    Args:
        starts: where each group begins in the program's memory, ascending.
        shifts: number of bytes to add to the places in each group.
    """

    starts: Array
    shifts: Array

    @classmethod
    def build(cls, groups: Sequence[Group], places: Sequence[int]) -> Relocation:
        """Return the relocation of groups in ascending order to new places."""
        starts = np.array([group.first for group in groups], np.int64)
        return cls(starts, np.array(places, np.int64) - starts)

    def move(self, places: Array) -> Array:
        """Return the new places, int32 in the shape of the old ones."""
        index = np.searchsorted(self.starts, places, "right") - 1
        moved: Array = (places + self.shifts[index]).astype(np.int32)
        return moved
