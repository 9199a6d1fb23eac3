"""Finds the shape of every tensor of a traced graph, and replaces sizes in it by constants."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from gatesearch.errors import UserError, first_line

BATCHES = (2, 3)  # a size that differs between two batch sizes depends on the batch


class _Results(fx.Interpreter):
    """Runs a graph and records the shape of each tensor and the value of each number."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.shapes: dict[fx.Node, Any] = {}
        self.numbers: dict[fx.Node, int] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        self.shapes[n] = shape_tree(result)
        if isinstance(result, int) and not isinstance(result, bool):
            self.numbers[n] = result
        return result


def shape_tree(result: Any) -> Any:
    """Return the shape of a tensor, a tuple of shapes for several tensors, or None for any other value."""
    if isinstance(result, Tensor):
        return tuple(result.shape)
    if isinstance(result, tuple | list) and any(isinstance(each, Tensor | tuple) for each in result):
        return tuple(map(shape_tree, result))
    return None


@torch.no_grad()
def shapes_of(traced: fx.GraphModule, shape: tuple[int, ...]) -> dict[fx.Node, Any]:
    """Return the shapes of a graph's tensors by node, for a batch of two windows [2, *shape]."""
    return _run(traced, next(traced.parameters(), torch.zeros(())).new_zeros(BATCHES[0], *shape)).shapes


@torch.no_grad()
def with_constant_sizes(traced: fx.GraphModule, shape: tuple[int, ...]) -> tuple[fx.GraphModule, dict[fx.Node, Any]]:
    """Return a graph with constants instead of sizes such as ``x.shape[2]``, and its shapes for a batch of two.

    Args:
        traced: the graph; not changed; the result shares its modules.
        shape: shape of one sample of the input.

    Raises:
        UserError: the graph does not accept the shape.
    """
    copied = fx.Graph()
    output = copied.graph_copy(traced.graph, {})
    copied.output(output)
    graph = fx.GraphModule(traced, copied)
    weight = next(graph.parameters(), torch.zeros(()))
    first, second = (_run(graph, weight.new_zeros(batch, *shape)) for batch in BATCHES)
    for node, number in first.numbers.items():
        if second.numbers[node] == number:
            for user in list(node.users):
                _write(user, node, number)
    return graph, first.shapes


def _write(user: fx.Node, node: fx.Node, number: int) -> None:
    """Replace a node by a number in the arguments of ``user``, a node that reads it."""

    def value(argument: fx.Node) -> Any:
        return number if argument is node else argument

    user.args = fx.node.map_arg(user.args, value)
    user.kwargs = fx.node.map_arg(user.kwargs, value)


def _run(graph: fx.GraphModule, example: Tensor) -> _Results:
    results = _Results(graph)
    modes = {module: module.training for module in graph.modules()}
    graph.eval()
    try:
        results.run(example)
    except Exception as error:
        line = first_line(error)
        raise UserError(f"backbone: does not accept an input of shape {tuple(example.shape)}: {line}") from error
    finally:
        for module, mode in modes.items():
            module.training = mode
    return results
