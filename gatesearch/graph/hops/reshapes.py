"""Rules for operators that move, merge, cut or join axes: how each of them runs in a hop of a stream.

Each rule gets a call of an operator and returns its step in a hop: which frames of the window the operator reads, and
which it computes.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import Any

from torch import fx

from gatesearch.graph.hops.call import Argument, Call, HopStep, Replacement, Rule
from gatesearch.graph.hops.frames import Slide

Index = tuple[Any, ...]


def reshape(call: Call) -> HopStep:
    """Return the step of a reshape: it keeps the time axis, or merges the frames with other values."""
    frames, shape = call.frames, call.shape_out
    if shape[0] != call.shape_in[0]:
        return call.recomputes("moves frames into the batch axis; use instead: a layer that takes [N, T, features]")
    before = math.prod(call.shape_in[: frames.axis])
    axes = [
        axis for axis, size in enumerate(shape) if size == frames.count and math.prod(shape[:axis]) == before and axis
    ]
    if not axes:
        return call.reduces()
    axis = axes[-1] if frames.count == 1 else axes[0]
    sizes = [-1, *shape[1:]]
    sizes[axis] = frames.fresh

    def with_fresh_frames(graph: fx.Graph, copy: fx.Node, value: Argument) -> fx.Node:
        return graph.call_method("reshape", (value(call.source), tuple(sizes)))

    return call.passes(axis, with_fresh_frames)


def permute(call: Call) -> HopStep:
    """Return the step of a permutation, which may move the time axis."""
    order = list(range(len(call.shape_in)))
    if call.name == "permute":
        first = call.argument(0, "dims")
        written = first if isinstance(first, tuple | list) else call.node.args[1:]
        order = [int(axis) % len(order) for axis in written]  # type: ignore[arg-type]
    elif call.name == "movedim":
        source, target = (int(axis) % len(order) for axis in call.node.args[1:3])  # type: ignore[arg-type]
        order.insert(target, order.pop(source))
    else:
        a = call.argument(0, "dim0", 0) % len(order)
        b = call.argument(1, "dim1", 1) % len(order)
        order[a], order[b] = order[b], order[a]
    return call.passes(order.index(call.frames.axis))


def unsqueeze(call: Call) -> HopStep:
    """Return the step of ``unsqueeze``, which adds an axis of size one."""
    axis = call.argument(0, "dim") % len(call.shape_out)
    return call.passes(call.frames.axis + (axis <= call.frames.axis))


def squeeze(call: Call) -> HopStep:
    """Return the step of ``squeeze``, which removes axes of size one."""
    written = call.argument(0, "dim")
    axes = range(len(call.shape_in)) if written is None else written if isinstance(written, tuple | list) else [written]
    removed = {axis % len(call.shape_in) for axis in axes if call.shape_in[axis] == 1}
    if call.frames.axis in removed:
        return call.reduces()
    return call.passes(call.frames.axis - sum(axis < call.frames.axis for axis in removed))


def join(call: Call) -> HopStep:
    """Return the step of a concatenation, which can run by hops if it does not join along time."""
    axis = call.argument(0, "dim", call.node.kwargs.get("axis", 0))
    ndim = len(call.shape_out)
    new_axis = call.name == "stack"
    same = all(frames == call.frames for frames in call.all_frames.values())
    if not new_axis and axis % ndim == call.frames.axis:
        return call.recomputes("joins tensors along time")
    if call.whole or call.constants or not same:
        return call.recomputes("joins frames with a tensor that has no frames, or has other frames")
    return call.passes(call.frames.axis + (new_axis and axis % ndim <= call.frames.axis))


def divide(call: Call) -> HopStep:
    """Return the step of an operator that cuts a tensor into several, which can run by hops if it does not cut time."""
    axis = call.argument(0 if call.name == "unbind" else 1, "dim", 0) % len(call.shape_in)
    if axis == call.frames.axis:
        return call.recomputes("cuts a window in time")
    return call.passes(call.frames.axis - (call.name == "unbind" and axis < call.frames.axis))


def select(call: Call) -> HopStep:
    """Return the step of ``x.select(axis, i)``."""
    axis, place = call.argument(0, "dim") % len(call.shape_in), call.argument(1, "index")
    return _index(call, (*[slice(None)] * axis, place))


def narrow(call: Call) -> HopStep:
    """Return the step of ``x.narrow(axis, start, length)``."""
    axis = call.argument(0, "dim") % len(call.shape_in)
    start, length = call.argument(1, "start"), call.argument(2, "length")
    start %= call.shape_in[axis]
    return _index(call, (*[slice(None)] * axis, slice(start, start + length)))


def getitem(call: Call) -> HopStep:
    """Return the step of an index: into a tensor, or into a tuple of tensors."""
    index = call.node.args[1]
    if call.shape_in and not isinstance(call.shape_in[0], int):
        return _one_of_several(call)
    return _index(call, index if isinstance(index, tuple) else (index,))


def _one_of_several(call: Call) -> HopStep:
    """Return the step of an index into a tuple of tensors.

    A recurrent layer returns its output, which has the time axis, and its last state, which has none. An operator that
    cuts a tensor returns several tensors, which all have the time axis. An output with the time axis passes as it is.
    The last state becomes one value for the whole window.
    """
    if call.shapes[call.node] == call.shape_in[0]:
        return call.passes()
    return HopStep(None, call.frames.first_fresh)


def size(call: Call) -> HopStep:
    """Return the step of a size that depends on the batch size; tracing has replaced all other sizes by numbers."""
    return HopStep(None, call.frames.first_fresh)


def _index(call: Call, written: Index) -> HopStep:
    """Return the step of an index made of numbers, slices, None and an ellipsis."""
    if any(not isinstance(each, int | slice | None | type(...)) or isinstance(each, bool) for each in written):
        return call.recomputes("picks frames by an index that is not a number or a slice")
    axes_named = sum(each is not None and each is not ... for each in written)
    missing = (slice(None),) * (len(call.shape_in) - axes_named)
    at = written.index(...) if ... in written else len(written)
    index = [*written[:at], *missing, *written[at + 1 :]]
    places = [i for i, each in enumerate(index) if each is not None]  # positions of the input's axes in the index
    place = places[call.frames.axis]
    of_time, count = index[place], call.frames.count
    axis = sum(not isinstance(each, int) for each in index[:place])
    if isinstance(of_time, int):
        start = min(of_time % count, call.frames.first_fresh)
        index[place] = of_time % count - start
        return HopStep(None, start, replacement=_indexing(call, tuple(index)))
    first, end, step = of_time.indices(count)
    frames_out = len(range(first, end, step))
    if frames_out == 0 or call.shape_out[axis] != frames_out:
        return call.recomputes("picks no frame, or picks frames together with other axes")
    slid = call.slides(Slide(first, 1, step), frames_out)
    if slid.output is None:
        return slid
    fresh = slid.output.fresh
    index[place] = slice(0, (fresh - 1) * step + 1, step)
    output = type(call.frames)(axis, frames_out, slid.output.hop)
    return HopStep(output, slid.start, replacement=_indexing(call, tuple(index)))


def _indexing(call: Call, index: Index) -> Replacement:
    def replacement(graph: fx.Graph, copy: fx.Node, value: Argument) -> fx.Node:
        return graph.call_function(operator.getitem, (value(call.source), index))

    return replacement


RULES: Mapping[frozenset[str], Rule] = {
    frozenset({"flatten", "reshape", "view", "unflatten"}): reshape,
    frozenset({"permute", "transpose", "swapaxes", "swapdims", "movedim"}): permute,
    frozenset({"unsqueeze"}): unsqueeze,
    frozenset({"squeeze"}): squeeze,
    frozenset({"cat", "concat", "stack"}): join,
    frozenset({"chunk", "split", "tensor_split", "unbind"}): divide,
    frozenset({"select"}): select,
    frozenset({"narrow"}): narrow,
    frozenset({"getitem"}): getitem,
    frozenset({"size", "dim", "getattr", "numel", "len"}): size,
}
