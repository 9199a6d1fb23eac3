"""Families of PyTorch modules and functions, such as ReLUs or poolings, and checks for membership."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeGuard

import torch
from torch import fx, nn
from torch.nn import functional as F

Modules = tuple[type[nn.Module], ...]
Functions = tuple[Callable[..., Any], ...]

RELUS: Modules = (nn.ReLU,)
RELU_FUNCTIONS: Functions = (torch.relu, F.relu)
RECTIFIERS: Modules = (nn.ReLU, nn.ReLU6)  # their outputs are never negative

DROPOUTS: Modules = (nn.Dropout, nn.Dropout2d)
NO_OPERATIONS: Modules = (nn.Identity, *DROPOUTS)  # the identity in evaluation

ELEMENTWISE: Modules = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.Hardswish, nn.Hardsigmoid, nn.SiLU, nn.GELU, nn.Sigmoid, nn.Tanh, nn.ELU,
    *NO_OPERATIONS,
)  # fmt: skip
ELEMENTWISE_FUNCTIONS: Functions = (
    *RELU_FUNCTIONS, F.relu6, F.hardswish, F.silu, F.gelu, torch.sigmoid, torch.tanh
)  # fmt: skip

MAX_POOLS: Modules = (nn.MaxPool1d, nn.MaxPool2d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d)
AVERAGE_POOLS: Modules = (nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)
ZERO_PADS: Modules = (nn.ZeroPad2d,)
PADS: Modules = tuple(value for name, value in vars(nn.modules.padding).items() if re.fullmatch(r"\w+Pad[123]d", name))

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)

# These keep the channels of a map apart, so that a channel of zeros stays zero. A batch normalisation is in this list
# because a gate that replaces the layer before it also replaces the normalisation.
CHANNEL_WISE: Modules = (nn.BatchNorm2d, *RECTIFIERS, *NO_OPERATIONS, nn.AvgPool2d, nn.MaxPool2d)
# The outputs of these are not negative if their inputs are not.
KEEP_SIGN: Modules = (*NO_OPERATIONS, nn.AvgPool2d, nn.MaxPool2d, *ZERO_PADS)

# Layers whose type tells which axis of their output has the channels.
CHANNELS_FIRST: Modules = (
    *CONVOLUTIONS, nn.ConvTranspose1d, nn.ConvTranspose2d, *BATCH_NORMS, nn.GroupNorm, nn.InstanceNorm1d,
    nn.InstanceNorm2d, *AVERAGE_POOLS, *MAX_POOLS,
)  # fmt: skip
CHANNELS_LAST: Modules = (nn.Linear, nn.LayerNorm, nn.RMSNorm, nn.Embedding, nn.TransformerEncoderLayer, nn.RNNBase)
FUNCTIONS_FIRST: Functions = (F.conv1d, F.conv2d, F.batch_norm, F.group_norm, F.max_pool1d, F.max_pool2d)
FUNCTIONS_LAST: Functions = (F.linear, F.layer_norm)

# Layers that lose much accuracy in int8: a layer normalisation divides by the spread of a few values, and softmax and
# GELU are strongly nonlinear.
DELICATE: Modules = (nn.LayerNorm, nn.RMSNorm, nn.Softmax, nn.GELU, nn.MultiheadAttention)
DELICATE_FUNCTIONS: Functions = (torch.softmax, F.softmax, F.layer_norm, F.gelu, F.scaled_dot_product_attention)
DELICATE_METHODS = ("softmax",)


def module_at(graph: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """Return the module that a node calls; None if the node calls no module."""
    return graph.get_submodule(str(node.target)) if node.op == "call_module" else None


def calls_one_of(graph: fx.GraphModule, node: fx.Node, modules: Modules, functions: Functions = ()) -> bool:
    """Say whether a node calls one of the modules or functions."""
    return isinstance(module_at(graph, node), modules) or (node.op == "call_function" and node.target in functions)


def is_convolution(module: nn.Module | None) -> TypeGuard[nn.Conv1d | nn.Conv2d]:
    """Say whether a module is a convolution over one or two axes."""
    return isinstance(module, CONVOLUTIONS)


def is_depthwise(module: nn.Module | None) -> TypeGuard[nn.Conv1d | nn.Conv2d]:
    """Say whether a module is a depthwise convolution: one filter per channel, which reads that channel alone.

    >>> is_depthwise(nn.Conv2d(4, 4, 3, groups=4)), is_depthwise(nn.Conv2d(4, 8, 3, groups=4))
    (True, False)
    """
    return is_convolution(module) and module.groups == module.in_channels == module.out_channels


def is_batch_norm(module: nn.Module | None) -> TypeGuard[nn.BatchNorm1d | nn.BatchNorm2d]:
    """Say whether a module is a batch normalisation with running statistics.

    In evaluation, such a module only scales and shifts each channel.
    """
    return isinstance(module, BATCH_NORMS) and module.running_mean is not None
