"""Lowerings of ``c - x`` and ``c / x`` that keep the constant on its side.

The converter moves a constant next to a convolution into the convolution's weights and bias. It treats ``c - x`` like
``x - c``, and ``c / x`` like ``x / c``, so that the program computes another function. These lowerings give it other
operators, which it converts right: ``c - x`` becomes ``-x + c``, and ``1 / x`` has a reshape between the convolution
and the quotient.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import fx

aten = torch.ops.aten
# The converter keeps these operators as they are. It converts a number minus the result of one of them right.
SAFE = frozenset({aten.sigmoid.default, aten.tanh.default, aten._softmax.default, aten.exp.default, aten.relu.default})
LAYOUTS = frozenset({aten.permute.default, aten.clone.default, aten.view.default, aten.unsqueeze.default})


@cache
def register() -> None:
    """Tell the converter how to lower the operators; later calls do nothing."""
    from jax import numpy as jnp
    from litert_torch.backend import jax_bridge
    from litert_torch.backend.lowerings import registry

    plain_difference, plain_quotient = registry.lookup(aten.sub.Tensor), registry.lookup(aten.div.Tensor)

    @jax_bridge.wrap
    def negated_sum(constant, x):  # type: ignore[no-untyped-def]
        return x * jnp.array(-1, x.dtype) + jnp.asarray(constant, x.dtype)

    @jax_bridge.wrap
    def reciprocal(x):  # type: ignore[no-untyped-def]
        return (jnp.array(1, x.dtype) / x.reshape(-1)).reshape(x.shape)

    @jax_bridge.wrap
    def quotient(constant, x):  # type: ignore[no-untyped-def]
        return jnp.asarray(constant, x.dtype) * (jnp.array(1, x.dtype) / x.reshape(-1)).reshape(x.shape)

    def lower_difference(context: Any, first: Any, second: Any, *rest: Any, **kwargs: Any) -> Any:
        is_swapped = not rest and not kwargs and _is_swapped(context.node)
        if is_swapped and (isinstance(context.node.args[0], fx.Node) or _source(context.node.args[1]) not in SAFE):
            return negated_sum(context, first, second)
        return plain_difference(context, first, second, *rest, **kwargs)

    def lower_quotient(context: Any, first: Any, second: Any) -> Any:
        lowering: Callable[..., Any] = quotient if _is_swapped(context.node) else plain_quotient
        return lowering(context, first, second)

    registry.lower(aten.sub.Tensor)(lower_difference)
    registry.lower(aten.div.Tensor)(lower_quotient)
    registry.lower(aten.reciprocal.default)(reciprocal)


def _is_swapped(node: fx.Node) -> bool:
    """Say whether a node computes on a constant first operand and floating-point data as its second operand."""
    first, second = node.args[:2]
    if not isinstance(second, fx.Node) or not second.meta["val"].is_floating_point():
        return False
    return _reads_input(second) and not (isinstance(first, fx.Node) and _reads_input(first))


def _reads_input(node: fx.Node) -> bool:
    """Say whether a node depends on an input of the program; parameters and buffers are no inputs."""
    waiting, visited = [node], {node}
    while waiting:
        node = waiting.pop()
        if node.op == "placeholder":
            return True
        waiting += [each for each in node.all_input_nodes if each not in visited]
        visited.update(node.all_input_nodes)
    return False


def _source(node: Any) -> Any:
    """Return the operator that computes the values of a node, behind changes of layout."""
    while node.target in LAYOUTS:
        node = node.args[0]
    return node.target
