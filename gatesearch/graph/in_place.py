"""Replaces the in-place operations of a traced graph (``x += y``, ``x.mul_(2)``) by plain ones.

Analyses and passes follow the edges of a graph. An in-place operation changes a value for later readers, which have no
edge from the operation. This module gives each later reader that edge. The names of nodes stay the same.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from gatesearch.errors import UserError

OPERATORS: dict[Any, Callable[..., Any]] = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
    operator.ifloordiv: operator.floordiv,
    operator.imod: operator.mod,
    operator.ipow: operator.pow,
    operator.imatmul: operator.matmul,
    operator.iand: operator.and_,
    operator.ior: operator.or_,
    operator.ixor: operator.xor,
}
METHODS: dict[str, Callable[..., Any]] = {"zero_": torch.zeros_like, "fill_": torch.full_like}
NO_WRITES = ("and_", "or_", "not_", "requires_grad_")
ARITHMETIC = ("getitem", "add", "sub", "mul", "floordiv", "truediv", "mod", "neg")
VIEWS = {
    "chunk", "detach", "expand", "flatten", "getitem", "movedim", "narrow", "permute", "reshape", "select", "split",
    "squeeze", "swapaxes", "t", "tensor_split", "transpose", "unbind", "unflatten", "unfold", "unsqueeze", "view",
}  # fmt: skip


def replace_in_place(graph: fx.Graph, model: nn.Module) -> None:
    """Replace each in-place operation of a graph by its plain form, and connect all later readers to the new node.

    Args:
        graph: the graph of the model, which is changed.
        model: the model that was traced.

    Raises:
        UserError: an operation writes into a buffer, into a part of a tensor that is read later, or has no plain form.
    """
    order = {node: i for i, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        if not _is_in_place(node, model):
            continue
        source = node.all_input_nodes[0]
        is_number = _is_size(source)  # Python makes a new number and leaves the old one as it is
        if not is_number:
            _check_source(source, node, order, model)
        if node.op != "call_module":
            _make_plain(node, model)
        if is_number:
            continue
        for user in list(source.users):
            if order[user] > order[node]:
                user.replace_input_with(source, node)


def _is_in_place(node: fx.Node, model: nn.Module) -> bool:
    if not node.all_input_nodes:
        return False
    if node.op == "call_module":
        return bool(getattr(model.get_submodule(str(node.target)), "inplace", False))
    if node.op == "call_method":
        return _writes(str(node.target))
    return node.op == "call_function" and (
        node.target in OPERATORS or node.kwargs.get("inplace") is True or _writes(_name(node))
    )


def _writes(name: str) -> bool:
    return name.endswith("_") and not name.endswith("__") and name not in NO_WRITES


def _is_size(node: fx.Node) -> bool:
    """Say whether a node computes numbers, such as ``x.shape[0] // 2``, instead of a tensor."""
    if _name(node) in ("size", "dim", "numel", "len") or (node.target is getattr and node.args[1] in ("shape", "ndim")):
        return True
    return bool(node.all_input_nodes) and _name(node) in ARITHMETIC and all(map(_is_size, node.all_input_nodes))


def _name(node: fx.Node) -> str:
    return str(getattr(node.target, "__name__", node.target))


def _check_source(source: fx.Node, node: fx.Node, order: dict[fx.Node, int], model: nn.Module) -> None:
    where = f"backbone: {type(model).__name__}: {_name(node)} in its forward"
    if source.op == "get_attr":
        raise UserError(f"{where} changes {source.target!r}; a network in use has no memory of earlier windows")
    whole = source
    while _is_view(whole):
        whole = whole.all_input_nodes[0]
        if any(order[user] > order[node] for user in whole.users):
            raise UserError(
                f"{where} writes into a part of {whole.name!r}, which is read later; use torch.cat or where"
            )
    earlier = [user for user in source.users if _is_view(user) and order[user] < order[node]]
    if any(order[reader] > order[node] for view in earlier for reader in view.users):
        raise UserError(f"{where} writes into {source.name!r}, of which a part is read later; write into a clone")


def _is_view(node: fx.Node) -> bool:
    return node.op in ("call_method", "call_function") and _name(node) in VIEWS and bool(node.all_input_nodes)


def _make_plain(node: fx.Node, model: nn.Module) -> None:
    if "inplace" in node.kwargs:
        node.kwargs = {**node.kwargs, "inplace": False}
        return
    name = _name(node)
    plain = OPERATORS.get(node.target) if node.op == "call_function" else METHODS.get(name)
    if plain is None and node.op == "call_function":
        plain = next((getattr(own, name[:-1]) for own in (torch, F) if getattr(own, name, None) is node.target), None)
    if plain is not None:
        node.op, node.target = "call_function", plain
    elif node.op == "call_method" and hasattr(torch.Tensor, name[:-1]):
        node.target = name[:-1]
    else:
        raise UserError(f"backbone: {type(model).__name__}: {name} in its forward has no form that is not in place")
