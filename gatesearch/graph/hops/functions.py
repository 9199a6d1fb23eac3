"""Rules that say how functions and methods of tensors run in a hop of a stream.

Each rule gets a call of an operator and returns its step in a hop: which frames of the window the operator reads, and
which it computes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from gatesearch.graph.hops import layers, reshapes
from gatesearch.graph.hops.call import Call, HopStep, Rule
from gatesearch.graph.module_types import Modules

ARITHMETIC = frozenset({
    "add", "sub", "mul", "truediv", "div", "true_divide", "floordiv", "pow", "maximum", "minimum", "neg", "rsub",
    "relu", "relu6", "leaky_relu", "elu", "hardswish", "hardsigmoid", "hardtanh", "silu", "gelu", "sigmoid", "tanh",
    "softplus", "abs", "exp", "log", "log1p", "sqrt", "rsqrt", "square", "reciprocal", "sign", "sin", "cos", "clamp",
    "clamp_min", "clamp_max", "clip", "dropout", "where", "float", "double", "half", "to", "type_as", "contiguous",
    "clone", "detach", "gt", "lt", "ge", "le", "eq", "ne", "zeros_like", "ones_like", "round", "floor", "ceil",
})  # fmt: skip
REDUCTIONS = frozenset({
    "mean", "sum", "amax", "amin", "max", "min", "prod", "std", "var", "norm", "any", "all", "argmax", "argmin",
    "logsumexp", "median",
})  # fmt: skip
NORMALISING = frozenset({"softmax", "log_softmax", "cumsum", "cumprod", "cummax", "normalize", "sort", "flip", "roll"})


def arithmetic(call: Call) -> HopStep:
    """Return the step of an element-wise operation, where each value depends on the inputs at the same position."""
    ndim = len(call.shape_out)
    axis = ndim - len(call.shape_in) + call.frames.axis
    for node, frames in call.all_frames.items():
        same_axis = ndim - len(call.shapes[node]) + frames.axis == axis
        if not same_axis or (frames.count, frames.hop) != (call.frames.count, call.frames.hop):
            return call.recomputes("joins tensors whose frames do not belong together")
    from_right = ndim - axis
    for node in call.constants:
        shape = _shape(call, node)
        if len(shape) >= from_right and shape[-from_right] > 1:
            return call.recomputes(f"adds a different value of {node.name!r} to each frame of a window")
    for node in call.whole:
        if _shape(call, node):
            return call.recomputes(f"changes each frame by {node.name!r}, which depends on the whole window")
    return call.passes(axis)


def _shape(call: Call, node: Any) -> tuple[int, ...]:
    shape = call.shapes.get(node) or ()
    return tuple(shape) if all(isinstance(size, int) for size in shape) else ()


def _dimensions(call: Call, place: int = 0) -> tuple[int, ...]:
    """Return the axes that the call names; all axes if it names none."""
    ndim = len(call.shape_in)
    written = call.argument(place, "dim", call.node.kwargs.get("axis"))
    if written is None:
        return tuple(range(ndim))
    axes = written if isinstance(written, tuple | list) else (written,)
    return tuple(axis % ndim for axis in axes)


def reduction(call: Call) -> HopStep:
    """Return the step of a reduction; a reduction over time reduces all frames of the window to one value."""
    if call.name in ("max", "min") and len(call.node.all_input_nodes) > 1:
        return arithmetic(call)
    axes = _dimensions(call, 1 if call.name == "norm" else 0)
    if call.frames.axis in axes:
        return call.reduces()
    same_rank = len(call.shape_out) == len(call.shape_in)
    return call.passes(call.frames.axis - (0 if same_rank else sum(axis < call.frames.axis for axis in axes)))


def normalising(call: Call) -> HopStep:
    """Return the step of a function that mixes values along one axis, such as softmax or a cumulative sum."""
    return layers.group_norm(call) if call.frames.axis in _dimensions(call) else call.passes()


def product(call: Call) -> HopStep:
    """Return the step of a product with a constant matrix; if time is the last axis, the product reduces all frames."""
    last = len(call.shape_in) - 1
    constant_matrix = not call.whole and len(call.all_frames) == 1 and call.node.all_input_nodes[0] is call.source
    if not constant_matrix:
        return call.recomputes("multiplies frames of a window by one another; use instead: a pooling before it")
    return call.reduces() if call.frames.axis == last else call.passes()


def along_one_axis(call: Call) -> HopStep:
    """Return the step of a module that computes only along the axis in its attribute ``works_along``.

    Positions along all other axes do not affect each other. So if time is another axis, each frame depends only on the
    same frame of the input.
    """
    if call.module is not None and call.module.works_along == call.frames.axis:
        return unknown(call)
    return call.passes()


def unknown(call: Call) -> HopStep:
    """Return the step of an operator without a rule: it is assumed to mix all frames."""
    kind = type(call.module).__name__ if isinstance(call.module, nn.Module) else call.name
    return call.recomputes(f"({kind}) is unknown here and may mix all frames of a window")


FUNCTIONS: Mapping[frozenset[str], Rule] = {
    ARITHMETIC: arithmetic,
    REDUCTIONS: reduction,
    NORMALISING: normalising,
    frozenset({"matmul", "mm", "bmm", "linear"}): product,
    frozenset({"pad"}): layers.pad,
    **reshapes.RULES,
}

MODULES: Mapping[Modules, Rule] = {**layers.LAYERS, (nn.Flatten, nn.Unflatten): reshapes.reshape}
POOLINGS: Mapping[str, Callable[..., nn.Module]] = {
    "avg_pool1d": nn.AvgPool1d,
    "avg_pool2d": nn.AvgPool2d,
    "max_pool1d": nn.MaxPool1d,
    "max_pool2d": nn.MaxPool2d,
    "adaptive_avg_pool1d": nn.AdaptiveAvgPool1d,
    "adaptive_avg_pool2d": nn.AdaptiveAvgPool2d,
    "adaptive_max_pool1d": nn.AdaptiveMaxPool1d,
    "adaptive_max_pool2d": nn.AdaptiveMaxPool2d,
}


def apply_rule(call: Call) -> HopStep:
    """Return the step of an operator by its rule; an operator without a rule gets the step of :func:`unknown`."""
    if call.name in POOLINGS:
        layer = POOLINGS[call.name](*call.node.args[1:], **call.node.kwargs)
        call = replace(call, module=layer)
    if hasattr(call.module, "works_along"):
        rule: Rule = along_one_axis
    elif call.module is not None:
        rule = next((rule for types, rule in MODULES.items() if isinstance(call.module, types)), unknown)
    else:
        rule = next((rule for names, rule in FUNCTIONS.items() if call.name in names), unknown)
    return rule(call)
