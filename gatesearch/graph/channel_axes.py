"""The axis of an activation that holds its channels: first after a convolution, last in tokens.

The shape alone does not tell the axis: [49, 64] may be 49 channels over 64 time steps, or 49 tokens of 64 channels. The
layer that produces the tensor determines the axis. If that layer leaves it open, the layer that reads the tensor
determines the axis.
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
    """The channel axis of a tensor [N, ...], where axis 0 is the batch.

    Args:
        axis: the axis of the channels.
        class_token: whether the first token is a class token: a learned token that attends to all others.
    """

    axis: int
    class_token: bool = False


def layouts(traced: fx.GraphModule, shapes: Mapping[str, Shape]) -> dict[str, Layout]:
    """Return the layout of every tensor of a graph; channels come first if no layer decides.

    Args:
        traced: the graph.
        shapes: by the name of a node, the shape of its output without the batch.

    >>> net = fx.symbolic_trace(nn.Sequential(nn.Linear(8, 6), nn.GELU()))
    >>> layouts(net, {"_0": (5, 6), "_1": (5, 6)})
    {'_0': Layout(axis=2, class_token=False), '_1': Layout(axis=2, class_token=False)}
    """
    produced: dict[fx.Node, Layout] = {}
    for node in traced.graph.nodes:
        layout = _output_layout(traced, node, produced, shapes)
        if layout is not None:
            produced[node] = layout
    return {
        node.name: produced.get(node) or _reader_layout(traced, node, shapes) or Layout(1)
        for node in traced.graph.nodes
        if node.name in shapes
    }


def along(values: Tensor, ndim: int, axis: int) -> Tensor:
    """View one value per channel [C] so that it broadcasts along ``axis`` of a tensor with ``ndim`` axes.

    >>> along(torch.ones(3), ndim=4, axis=1).shape
    torch.Size([1, 3, 1, 1])
    """
    shape = [1] * ndim
    shape[axis] = -1
    return values.view(shape)


def select(hidden: Tensor, channels: Any, axis: int) -> Tensor:
    """Return a tensor with only some channels along ``axis``; with all channels if ``channels`` is None."""
    if channels is None:
        return hidden
    return hidden.index_select(axis, torch.as_tensor(channels, dtype=torch.long))


def _output_layout(
    traced: fx.GraphModule, node: fx.Node, produced: Mapping[fx.Node, Layout], shapes: Mapping[str, Shape]
) -> Layout | None:
    """Return the layout of an operation's output; None if the operation and its inputs do not decide it."""
    shape = shapes.get(node.name)
    if shape is None or node.op in ("placeholder", "get_attr", "output"):
        return None
    if len(shape) == 1:
        return Layout(1)
    inputs = [(produced[n], shapes[n.name]) for n in node.all_input_nodes if n in produced]
    class_token = any(layout.class_token for layout, _ in inputs)
    axis = _layer_axis(traced, node, len(shape) + 1)
    if axis is not None:
        return Layout(axis, class_token and axis != 1)
    permutation = _permutation(node, len(shape) + 1)
    if permutation is not None:
        return Layout(permutation.index(inputs[0][0].axis)) if inputs else None
    if _name(node) in ("cat", "concat") and inputs:
        layout = inputs[0][0]
        return layout._replace(class_token=class_token or _starts_with_parameter(node))
    if _name(node) == "flatten" and inputs and inputs[0][0].axis == 1:
        return Layout(1)
    for layout, input_shape in inputs:
        if len(input_shape) == len(shape) and input_shape[layout.axis - 1] == shape[layout.axis - 1]:
            # This is an elementwise operation, or one that drops tokens. Dropping tokens may drop the class token.
            return layout._replace(class_token=class_token and any(other == shape for _, other in inputs))
    return None


def _reader_layout(traced: fx.GraphModule, node: fx.Node, shapes: Mapping[str, Shape]) -> Layout | None:
    """Return the layout that the first layer behind a tensor expects of it; None if no layer decides the layout."""
    ndim = len(shapes[node.name]) + 1
    for user in node.users:
        axis = _layer_axis(traced, user, ndim)
        if axis is not None:
            return Layout(axis)
        if shapes.get(user.name) is None:
            continue
        permutation = _permutation(user, ndim)
        if permutation is None and shapes[user.name] != shapes[node.name]:
            continue
        layout = _reader_layout(traced, user, shapes)
        if layout is not None:
            return Layout(permutation[layout.axis]) if permutation else layout
    return None


def _layer_axis(traced: fx.GraphModule, node: fx.Node, ndim: int) -> int | None:
    """Return the channel axis of a layer by its type; None if the node is not such a layer."""
    if node.op == "call_module":
        module = traced.get_submodule(str(node.target))
        if isinstance(module, CHANNELS_FIRST):
            return 1
        return ndim - 1 if isinstance(module, CHANNELS_LAST) else None
    if node.target is operator.getitem and node.args[1] == 0 and isinstance(node.args[0], fx.Node):
        # A recurrent layer returns a tuple, whose first item is the output.
        before = node.args[0]
        recurrent = before.op == "call_module" and isinstance(traced.get_submodule(str(before.target)), nn.RNNBase)
        return ndim - 1 if recurrent else None
    if node.op != "call_function":
        return None
    if node.target in FUNCTIONS_FIRST:
        return 1
    return ndim - 1 if node.target in FUNCTIONS_LAST else None


def _permutation(node: fx.Node, ndim: int) -> list[int] | None:
    """Return the input axis of each output axis of a transposition; None for another operation."""
    order, name = list(range(ndim)), _name(node)
    if name in ("transpose", "swapaxes", "swapdims") and len(node.args) == 3:
        a, b = (axis % ndim for axis in cast(tuple[int, int], node.args[1:]))
        order[a], order[b] = order[b], order[a]
        return order
    if name == "permute":
        axes = node.args[1] if len(node.args) == 2 else node.args[1:]
        return [axis % ndim for axis in cast(Sequence[int], axes)]
    return None


def _name(node: fx.Node) -> str:
    if node.op == "call_method":
        return str(node.target)
    target: Callable[..., Any] | str = node.target
    return str(getattr(target, "__name__", "")) if node.op == "call_function" else ""


def _starts_with_parameter(node: fx.Node) -> bool:
    """Say whether the first of the concatenated tensors is a parameter, even if it is repeated for every sample."""
    tensors = node.args[0] if node.args else node.kwargs.get("tensors")
    first = tensors[0] if isinstance(tensors, list | tuple) and tensors else None
    while isinstance(first, fx.Node) and first.op in ("call_method", "call_function") and first.args:
        if first.target is operator.getitem:
            return False
        first = first.args[0]
    return isinstance(first, fx.Node) and first.op == "get_attr"
