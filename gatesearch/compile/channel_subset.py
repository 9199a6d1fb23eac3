"""Adapts the operations behind a tensor to the removal of its constant channels, with equal results.

Channel pruning removes channels that a gate sets to zero. :func:`adapt` says how a later operation computes from the
remaining channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from gatesearch.compile.channel_slices import slice_depthwise, slice_norm, with_weight
from gatesearch.graph.module_types import (
    AVERAGE_POOLS,
    ELEMENTWISE,
    ELEMENTWISE_FUNCTIONS,
    MAX_POOLS,
    ZERO_PADS,
    is_batch_norm,
    is_convolution,
    is_depthwise,
)


@dataclass(frozen=True)
class Subset:
    """A tensor that holds only some channels of an axis; each of the other channels is a constant.

    Args:
        index: the indices of the channels that the tensor holds.
        fill: [C], the constant of every dropped channel.
        axis: the axis of the channels; the batch is axis 0.
    """

    index: Tensor
    fill: Tensor
    axis: int = 1

    @property
    def dropped(self) -> Tensor:
        """Whether each channel was dropped, [C]."""
        mask = torch.ones(len(self.fill), dtype=torch.bool)
        mask[self.index] = False
        return mask

    @property
    def is_zero(self) -> bool:
        """Whether every dropped channel is zero."""
        return not self.fill[self.dropped].any()


class Adaptation(NamedTuple):
    """The result of :func:`adapt`: how one operation computes from a tensor that lacks channels.

    Args:
        module: the module that replaces the node's own; None if the node keeps its own.
        subset: the subset that the output holds; None if the output has all its channels.
    """

    module: nn.Module | None
    subset: Subset | None


@torch.no_grad()
def adapt(stage: fx.GraphModule, node: fx.Node, subset: Subset) -> Adaptation | None:
    """Return how a node computes from a subset of channels; None if it cannot give exactly the same values."""
    source = node.all_input_nodes[0]
    if node.op == "call_module":
        return _adapt_module(stage.get_submodule(str(node.target)), node, source, subset)
    if node.op != "call_function":
        return None
    if node.target in ELEMENTWISE_FUNCTIONS:
        function: Callable[..., Any] = node.target
        args, kwargs = fx.map_arg((node.args, node.kwargs), lambda _: subset.fill.clone())
        return Adaptation(None, replace(subset, fill=function(*args, **kwargs)))
    flattens = node.target is torch.flatten and node.args[1:2] == (1,) and len(shape_of(node)) == 2
    if flattens and subset.axis == 1:
        return Adaptation(None, _flatten(subset, shape_of(source)))
    return None


def _adapt_module(module: nn.Module, node: fx.Node, source: fx.Node, subset: Subset) -> Adaptation | None:
    """Return how a layer computes from a subset of channels; None if it cannot give exactly the same values."""
    first = subset.axis == 1
    if isinstance(module, ELEMENTWISE) and (first or not isinstance(module, nn.Dropout2d)):
        # The constants become an image of one pixel, because dropout by channel needs an image.
        return Adaptation(None, replace(subset, fill=module(subset.fill[None, :, None, None]).flatten()))
    if isinstance(module, nn.Linear) and subset.axis == len(shape_of(source)) - 1:
        bias = module.weight[:, subset.dropped] @ subset.fill[subset.dropped]
        return Adaptation(with_weight(module, module.weight[:, subset.index], _sum(module.bias, bias)), None)
    if not first:
        return None
    if isinstance(module, MAX_POOLS):
        return Adaptation(None, subset)
    if isinstance(module, ZERO_PADS):
        return Adaptation(None, subset) if subset.is_zero else None
    if isinstance(module, AVERAGE_POOLS):
        keeps_constants = _is_unpadded(module) and getattr(module, "divisor_override", None) is None
        return Adaptation(None, subset) if keeps_constants or subset.is_zero else None
    if is_batch_norm(module):
        return Adaptation(slice_norm(module, subset.index), replace(subset, fill=_normalise(module, subset.fill)))
    if is_convolution(module):
        return _adapt_convolution(module, subset)
    if isinstance(module, nn.Flatten) and module.start_dim == 1 and len(shape_of(node)) == 2:
        return Adaptation(None, _flatten(subset, shape_of(source)))
    return None


def _adapt_convolution(module: nn.Conv1d | nn.Conv2d, subset: Subset) -> Adaptation | None:
    """Return the convolution of the remaining channels, with the constants of the dropped ones in its bias.

    A constant input channel adds a number to every output: the constant times the sum of the channel's kernel. At a
    padded border, a part of the kernel lies on zeros, so the number would differ. So with padding, the constants must
    be zero.
    """
    if not subset.is_zero and not _is_unpadded(module):
        return None
    over_kernel = module.weight.flatten(2).sum(2)  # [out, in / groups]
    if module.groups == 1:
        bias = over_kernel[:, subset.dropped] @ subset.fill[subset.dropped]
        return Adaptation(with_weight(module, module.weight[:, subset.index], _sum(module.bias, bias)), None)
    if is_depthwise(module):
        bias = module.bias if module.bias is not None else torch.zeros(module.out_channels)
        fill = bias + over_kernel[:, 0] * subset.fill
        return Adaptation(slice_depthwise(module, subset.index), Subset(subset.index, fill))
    return None


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """Return the shape of a node's output, which ``ShapeProp`` recorded."""
    return tuple(node.meta["tensor_meta"].shape)


def _flatten(subset: Subset, shape: tuple[int, ...]) -> Subset:
    """Return the subset behind a flattening of [N, C, ...] to [N, C x ...], where each channel is a run of values."""
    length = torch.Size(shape[2:]).numel()
    index = (subset.index[:, None] * length + torch.arange(length)).flatten()
    return Subset(index, subset.fill.repeat_interleave(length))


def _is_unpadded(module: nn.Module) -> bool:
    padding = getattr(module, "padding", 0)
    if isinstance(padding, str):
        return padding == "valid"
    return not any(padding if isinstance(padding, tuple) else (padding,))


def _sum(bias: Tensor | None, more: Tensor) -> Tensor | None:
    if bias is None:
        return more if more.any() else None
    return bias + more


def _normalise(module: nn.BatchNorm1d | nn.BatchNorm2d, fill: Tensor) -> Tensor:
    return F.batch_norm(
        fill[None],
        running_mean=module.running_mean,
        running_var=module.running_var,
        weight=module.weight,
        bias=module.bias,
        eps=module.eps,
    )[0]
