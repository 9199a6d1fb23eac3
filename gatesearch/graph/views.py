"""Views: the reshapes, transpositions and slices through which an operator reads a tensor.

PyTorch moves no values for a view. A .tflite program has an operator for each view that its converter cannot cancel.
The operator writes a copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

SLICES = frozenset({
    "slice", "narrow", "split", "split_with_sizes", "chunk", "unsafe_split", "unsafe_split_with_sizes", "diagonal",
    "as_strided", "unfold",
})  # fmt: skip
PERMUTE, RESHAPE, SLICE, EXPAND = "transpose", "reshape", "slice", "expand"
TO_CHANNEL_LAST, TO_CHANNEL_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


@dataclass(frozen=True, slots=True)
class View:
    """One step from a tensor to a view of it.

    Args:
        kind: :data:`PERMUTE`, :data:`RESHAPE`, :data:`SLICE` or :data:`EXPAND`.
        source: shape before the step.
        shape: shape after the step.
        axes: for a permutation, the axis of the source for each axis of the result.
    """

    kind: str
    source: tuple[int, ...]
    shape: tuple[int, ...]
    axes: tuple[int, ...] = ()


def reshape(source: Sequence[int], shape: Sequence[int]) -> View:
    """Return the view with another shape and the same order of values."""
    return View(RESHAPE, tuple(source), tuple(shape))


def permute(source: Sequence[int], axes: Sequence[int]) -> View:
    """Return the view that permutes axes.

    >>> permute((1, 8, 4, 5), TO_CHANNEL_LAST).shape
    (1, 4, 5, 8)
    """
    return View(PERMUTE, tuple(source), tuple(source[axis] for axis in axes), tuple(axes))


def views_of(name: str, args: Sequence[Any], source: Sequence[int], shape: Sequence[int]) -> tuple[View, ...]:
    """Return the views that an operator creates; one that selects one index of an axis slices, then drops the axis.

    Args:
        name: name of the operator's schema.
        args: arguments of the call.
        source: shape of the tensor that the operator reads.
        shape: shape of the view.
    """
    rank = len(source)
    if name in ("transpose", "transpose_", "t", "t_", "swapaxes", "numpy_T") and rank > 1:
        first, second = (0, 1) if name in ("t", "t_", "numpy_T") else (axis % rank for axis in args[1:3])
        axes = list(range(rank))
        axes[first], axes[second] = axes[second], axes[first]
        return (permute(source, axes),)
    if name == "permute":
        return (permute(source, [axis % rank for axis in args[1]]),)
    if name in ("select", "unbind"):
        axis = int([*args, 0][1]) % rank
        one = (*source[:axis], 1, *source[axis + 1 :])
        return View(SLICE, tuple(source), one), reshape(one, shape)
    if name in SLICES:
        return (View(SLICE, tuple(source), tuple(shape)),)
    if name in ("expand", "expand_as"):
        return (View(EXPAND, tuple(source), tuple(shape)),)
    return (reshape(source, shape),)


def simplify(views: Iterable[View]) -> tuple[View, ...]:
    """Return the reshapes and permutations of a chain that a converter cannot merge or cancel.

    Two consecutive steps of one kind become one, and a step that changes nothing vanishes. A permutation that moves
    only axes of size 1 counts as a reshape. The result contains no slices and expansions, because operators of their
    own compute them.

    >>> to_last, to_first = permute((1, 8, 4, 5), TO_CHANNEL_LAST), permute((1, 4, 5, 8), TO_CHANNEL_FIRST)
    >>> simplify([to_last, to_first])
    ()
    >>> [view.kind for view in simplify([permute((1, 1, 1, 8), TO_CHANNEL_FIRST), reshape((1, 8, 1, 1), (1, 8))])]
    ['reshape']
    """
    steps = [_plain(view) for view in views if view.kind in (PERMUTE, RESHAPE)]
    while True:
        steps = [step for step in steps if not _is_identity(step)]
        merged = next((i for i, (first, second) in enumerate(pairwise(steps)) if first.kind == second.kind), None)
        if merged is None:
            return tuple(steps)
        steps[merged : merged + 2] = [_plain(_merge(*steps[merged : merged + 2]))]


def _plain(view: View) -> View:
    """Return a permutation that moves only axes of size 1 as a reshape."""
    moved = [axis for axis in view.axes if view.source[axis] > 1]
    return reshape(view.source, view.shape) if view.kind == PERMUTE and moved == sorted(moved) else view


def _is_identity(view: View) -> bool:
    return view.source == view.shape and list(view.axes) == sorted(view.axes)


def _merge(first: View, second: View) -> View:
    if first.kind == RESHAPE:
        return reshape(first.source, second.shape)
    return permute(first.source, [first.axes[axis] for axis in second.axes])
