"""Which axis of an activation holds its channels: the first one behind a convolution, the last one among tokens.

Shapes do not tell: [49, 64] may be 49 channels over time or 49 tokens of 64. What does is the layer that made the
tensor, or else the one that reads it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, fx, nn

from gatesearch.graph.module_types import CHANNELS_FIRST, CHANNELS_LAST, FUNCTIONS_FIRST, FUNCTIONS_LAST

Shape = tuple[int, ...]


class Layout(NamedTuple):
    """Where a tensor [N, ...] has its channels: ``axis`` counts the batch; and whether its first token is a learned one
    that gathers what the others hold."""

    axis: int
    class_token: bool = False


def layouts(traced: fx.GraphModule, shapes: Mapping[str, Shape]) -> dict[str, Layout]:
    """Find the layout of every tensor of a graph; channels first where no layer tells.

    Args:
        traced: the graph.
        shapes: of the tensors, batch excluded, by node.

    >>> net = fx.symbolic_trace(nn.Sequential(nn.Linear(8, 6), nn.GELU()))
    >>> layouts(net, {"_0": (5, 6), "_1": (5, 6)})
    {'_0': Layout(axis=2, class_token=False), '_1': Layout(axis=2, class_token=False)}
    """
    made: dict[fx.Node, Layout] = {}
    for node in traced.graph.nodes:
        layout = _made(traced, node, made, shapes)
        if layout is not None:
            made[node] = layout
    return {
        node.name: made.get(node) or _read(traced, node, shapes) or Layout(1)
        for node in traced.graph.nodes
        if node.name in shapes
    }


def along(values: Tensor, ndim: int, axis: int) -> Tensor:
    """View one value a channel [C] so that it broadcasts with a tensor of ``ndim`` axes whose ``axis`` has channels.

    >>> along(torch.ones(3), ndim=4, axis=1).shape
    torch.Size([1, 3, 1, 1])
    """
    shape = [1] * ndim
    shape[axis] = -1
    return values.view(shape)


def select(hidden: Tensor, channels: Any, axis: int) -> Tensor:
    """Return a tensor with the given channels only, along ``axis``; with all of them where they are None."""
    if channels is None:
        return hidden
    return hidden.index_select(axis, torch.as_tensor(channels, dtype=torch.long))


def _made(
    traced: fx.GraphModule, node: fx.Node, made: Mapping[fx.Node, Layout], shapes: Mapping[str, Shape]
) -> Layout | None:
    """Return the layout that the operation gives its output; None where it does not say."""
    shape = shapes.get(node.name)
    if shape is None or node.op in ("placeholder", "get_attr", "output"):
        return None
    if len(shape) == 1:
        return Layout(1)
    known = [(made[n], shapes[n.name]) for n in node.all_input_nodes if n in made]
    gathered = any(layout.class_token for layout, _ in known)
    wanted = _wanted(traced, node, len(shape) + 1)
    if wanted is not None:
        return Layout(wanted, gathered and wanted != 1)
    moved = _permutation(node, len(shape) + 1)
    if moved is not None:
        return Layout(moved.index(known[0][0].axis)) if known else None
    if _name(node) in ("cat", "concat") and known:
        layout = known[0][0]
        return layout._replace(class_token=gathered or _starts_with_parameter(node))
    if _name(node) == "flatten" and known and known[0][0].axis == 1:
        return Layout(1)
    for layout, before in known:
        if len(before) == len(shape) and before[layout.axis - 1] == shape[layout.axis - 1]:
            # Element by element; or fewer tokens, of which the first one need not be the same.
            return layout._replace(class_token=gathered and any(other == shape for _, other in known))
    return None


def _read(traced: fx.GraphModule, node: fx.Node, shapes: Mapping[str, Shape]) -> Layout | None:
    """Return the layout in which the first layer behind a tensor reads it."""
    ndim = len(shapes[node.name]) + 1
    for user in node.users:
        wanted = _wanted(traced, user, ndim)
        if wanted is not None:
            return Layout(wanted)
        if shapes.get(user.name) is None:
            continue
        moved = _permutation(user, ndim)
        behind = _read(traced, user, shapes) if moved or shapes[user.name] == shapes[node.name] else None
        if behind is not None:
            return Layout(moved[behind.axis]) if moved else behind
    return None


def _wanted(traced: fx.GraphModule, node: fx.Node, ndim: int) -> int | None:
    """Return the axis on which a layer works, or None where the node is none."""
    if node.op == "call_module":
        module = traced.get_submodule(str(node.target))
        return 1 if isinstance(module, CHANNELS_FIRST) else ndim - 1 if isinstance(module, CHANNELS_LAST) else None
    if node.target is operator.getitem and node.args[1] == 0 and isinstance(node.args[0], fx.Node):
        # The first of what a recurrent layer returns.
        before = node.args[0]
        recurrent = before.op == "call_module" and isinstance(traced.get_submodule(str(before.target)), nn.RNNBase)
        return ndim - 1 if recurrent else None
    if node.op == "call_function":
        return 1 if node.target in FUNCTIONS_FIRST else ndim - 1 if node.target in FUNCTIONS_LAST else None
    return None


def _permutation(node: fx.Node, ndim: int) -> list[int] | None:
    """Return for each axis of a transposition's output the axis that it was, or None for another operation."""
    order, name = list(range(ndim)), _name(node)
    if name in ("transpose", "swapaxes", "swapdims") and len(node.args) == 3:
        a, b = (axis % ndim for axis in cast(tuple[int, int], node.args[1:]))
        order[a], order[b] = order[b], order[a]
        return order
    if name == "permute":
        given = node.args[1] if len(node.args) == 2 else node.args[1:]
        return [axis % ndim for axis in cast(Sequence[int], given)]
    return None


def _name(node: fx.Node) -> str:
    if node.op == "call_method":
        return str(node.target)
    target: Callable[..., Any] | str = node.target
    return str(getattr(target, "__name__", "")) if node.op == "call_function" else ""


def _starts_with_parameter(node: fx.Node) -> bool:
    """Whether the first of the tensors that are put together is a parameter, perhaps repeated for every sample."""
    tensors = node.args[0] if node.args else node.kwargs.get("tensors")
    first = tensors[0] if isinstance(tensors, list | tuple) and tensors else None
    while isinstance(first, fx.Node) and first.op in ("call_method", "call_function") and first.args:
        if first.target is operator.getitem:
            return False
        first = first.args[0]
    return isinstance(first, fx.Node) and first.op == "get_attr"
