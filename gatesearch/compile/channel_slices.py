"""Copies layers with only some of their channels: weights, biases and statistics of these channels."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn


def with_weight(module: nn.Module, weight: Tensor, bias: Tensor | None) -> nn.Module:
    """Return a copy of a convolution or linear layer with another weight [out, in, ...] and bias [out]."""
    cut: Any = copy.deepcopy(module)
    cut.weight = nn.Parameter(weight.detach().clone())
    cut.bias = None if bias is None else nn.Parameter(bias.detach().clone())
    for name, axis in (("out_channels", 0), ("in_channels", 1), ("out_features", 0), ("in_features", 1)):
        if hasattr(cut, name):
            setattr(cut, name, weight.shape[axis])
    return cut


def slice_outputs(module: nn.Module, index: Tensor) -> nn.Module:
    """Return a convolution without groups, or a linear layer, with some of its output channels."""
    layer: Any = module
    return with_weight(module, layer.weight[index], None if layer.bias is None else layer.bias[index])


def slice_depthwise(module: nn.Conv1d | nn.Conv2d, index: Tensor) -> nn.Module:
    """Return a depthwise convolution over some of its channels."""
    cut: Any = slice_outputs(module, index)
    cut.in_channels = cut.groups = len(index)
    return cut


def slice_norm(module: nn.BatchNorm1d | nn.BatchNorm2d, index: Tensor) -> nn.Module:
    """Return a batch normalisation over some of its channels."""
    cut: Any = copy.deepcopy(module)
    cut.num_features = len(index)
    for name in ("weight", "bias"):
        if getattr(cut, name) is not None:
            setattr(cut, name, nn.Parameter(getattr(cut, name).detach()[index].clone()))
    for name in ("running_mean", "running_var"):
        setattr(cut, name, getattr(cut, name)[index].clone())
    return cut
