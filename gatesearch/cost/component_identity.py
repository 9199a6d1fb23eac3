"""Says which separately timed modules (*components*) have equal readings, so that each reading is taken once.

The equal blocks of a network differ in the names of their modules and in their weights. Neither changes the time of a
block, so names and weights are not part of its identity.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, fx, nn

from gatesearch.cost.blocks import Component, Components


def describe_components(components: Components) -> list[tuple[Any, ...]]:
    """Return everything that decides the readings of components: operations and shapes, not weights."""
    return [(key, *identity(component)) for key, component in components.items()]


def identity(component: Component) -> tuple[Any, ...]:
    """Return everything that decides the readings of a component; components of equal identity have equal readings."""
    return component.need, tuple(component.example.shape[1:]), _describe(component.module)


def _describe(module: nn.Module) -> tuple[Any, ...]:
    """Return the operations and shapes of a module."""
    if isinstance(module, fx.GraphModule):
        return "graph", *_describe_nodes(module)
    return (
        type(module).__qualname__,
        module.extra_repr(),
        _plain_attributes(module),  # the text of extra_repr may leave some of them out
        [(name, tuple(value.shape)) for name, value in module.named_parameters(recurse=False)],
        [(name, tuple(value.shape)) for name, value in module.named_buffers(recurse=False)],
        [(name, _describe(child)) for name, child in module.named_children()],
    )


def _describe_nodes(module: fx.GraphModule) -> list[tuple[Any, ...]]:
    """Return the operations of a graph; numbers in the order of the graph take the place of names."""
    numbers: dict[fx.Node, str] = {}
    modules: dict[str, int] = {}  # the number of each submodule, because a submodule may be called at several places
    lines = []
    for node in module.graph.nodes:
        arguments = fx.map_arg((node.args, node.kwargs), lambda each: _Number(numbers[each]))
        target: Any = None
        if node.op == "call_module":
            name = str(node.target)
            target = modules.setdefault(name, len(modules)), _describe(module.get_submodule(name))
        elif node.op == "get_attr":
            target = _describe_value(module, str(node.target))
        elif node.op == "call_function":
            target = _qualified_name(node.target)
        elif node.op == "call_method":
            target = node.target
        lines.append((node.op, target, repr(arguments) if node.op != "placeholder" else ""))
        numbers[node] = f"%{len(numbers)}"
    return lines


class _Number(str):
    """The number of a node, which stands for the node among the arguments of another node."""

    __slots__ = ()
    __repr__ = str.__str__


def _describe_value(module: nn.Module, path: str) -> tuple[Any, ...]:
    parent, _, name = path.rpartition(".")
    value = getattr(module.get_submodule(parent), name)
    return (tuple(value.shape), str(value.dtype)) if isinstance(value, Tensor) else (repr(value),)


def _qualified_name(function: Callable[..., Any] | str) -> str:
    return f"{getattr(function, '__module__', None)}.{getattr(function, '__qualname__', repr(function))}"


def _plain_attributes(module: nn.Module) -> list[tuple[str, Any]]:
    """Return the settings of a module that are numbers or texts."""
    values = sorted(vars(module).items())
    return [(name, value) for name, value in values if isinstance(value, bool | int | float | str | tuple)]
