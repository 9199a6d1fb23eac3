"""Rewrites before conversion: the same function, in operators that every engine and the NPU run alike.

- A batch norm folds into the plain convolution before it: conversion takes a quarter less time.
- ``Linear`` on [N, F] becomes a 1x1 convolution: FULLY_CONNECTED rounds ties in TFLM differently from LiteRT (one step
  in up to 0.7 % of int8 outputs), CONV_2D is equal bit for bit. It costs no time on either.
- Average pooling becomes a depthwise convolution with equal weights: AVERAGE_POOL_2D has one scale for input and
output,
  so that the mean over a large map, which is far smaller than the map's maximum, is left with a few int8 steps.
- Adaptive maximum pooling to 1x1 becomes pooling with the full kernel: it does not convert otherwise.
- An LSTM or GRU, dense or over factors, takes its steps inside one operator (:mod:`gatesearch.compile.recurrence`):
  traced one by one, they take minutes to convert.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from gatesearch.compile import recurrence
from gatesearch.gates.factored import FactoredRNN, in_place_of
from gatesearch.gates.matrices import Factors


def lower(module: nn.Module) -> nn.Module:
    """Return the module rewritten, in place where it has children; it must be in evaluation mode.

    Only plain modules are touched: a subclass may mean something else, and a hook would be lost.

    >>> lower(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).eval())[1]
    Identity()
    """
    for block in list(module.modules()):
        fold_batch_norms(block)
    return _replace(module)


def _in_sequence(block: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield the names of modules of which the second takes what the first gives, and nothing else does."""
    if type(block) is nn.Sequential:
        yield from pairwise(dict(block.named_children()))
    if isinstance(block, fx.GraphModule):
        calls = [node for node in block.graph.nodes if node.op == "call_module"]
        used = Counter(node.target for node in calls)
        for node in calls:
            before = node.args[0]
            once = before in calls and len(before.users) == 1 and used[before.target] == used[node.target] == 1
            if once:
                yield str(before.target), str(node.target)


def fold_batch_norms(block: nn.Module) -> None:
    """Fold what can be folded among a module's own children, in place."""
    for first, second in list(_in_sequence(block)):
        conv, norm = block.get_submodule(first), block.get_submodule(second)
        if not (_is_plain(conv, nn.Conv2d) and _is_plain(norm, nn.BatchNorm2d)):
            continue
        assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        if norm.track_running_stats:
            block.set_submodule(first, fuse_conv_bn_eval(conv, norm))
            block.set_submodule(second, nn.Identity())


def _replace(module: nn.Module) -> nn.Module:
    for kind, replacement in _REPLACEMENTS.items():
        if _is_plain(module, kind):
            return replacement(module)
    for name, child in module.named_children():
        setattr(module, name, _replace(child))
    return module


def _is_plain(module: nn.Module, kind: type[nn.Module]) -> bool:
    return type(module) is kind and not module._forward_hooks and not module._forward_pre_hooks


class _Pointwise(nn.Module):
    """A linear layer as a 1x1 convolution over a map of one pixel."""

    def __init__(self, linear: nn.Module) -> None:
        super().__init__()
        assert isinstance(linear, nn.Linear)
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.ndim != 2:
            return functional.linear(x, self.weight, self.bias)
        return functional.conv2d(x[:, :, None, None], self.weight[:, :, None, None], self.bias).flatten(1)


class _Average(nn.Module):
    """Average pooling as a depthwise convolution; over the whole map where no kernel is given.

    The first call fixes the number of channels.
    """

    weight: torch.Tensor

    def __init__(self, kernel: tuple[int, int] | None, stride: Any = 1, padding: Any = 0) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding = kernel, stride, padding

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not hasattr(self, "weight"):
            height, width = self.kernel or x.shape[-2:]
            weight = torch.full((x.shape[1], 1, height, width), 1 / (height * width))
            self.register_buffer("weight", weight)
        # Over the whole map there is one position, and the NPU knows no stride beyond 3.
        whole = self.weight.shape[2:] == x.shape[2:]
        return functional.conv2d(x, self.weight, None, 1 if whole else self.stride, self.padding, groups=x.shape[1])


class _GlobalMaximum(nn.Module):
    """Pooling over the whole map to 1x1."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.max_pool2d(x, x.shape[-2:])


class _Recurrent(nn.Module):
    """A recurrent layer whose steps are one operator; from a state of zero."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        rnn = module if isinstance(module, FactoredRNN) else in_place_of(module, Factors)
        assert isinstance(rnn, FactoredRNN)
        self.rnn = rnn

    def forward(self, x: torch.Tensor) -> Any:
        return self.rnn.factored(x, run=recurrence.run)


def _recurrent(module: nn.Module) -> nn.Module:
    first = getattr(module, "batch_first", True)
    return _Recurrent(module) if first and not getattr(module, "proj_size", 0) else module


def _average(module: nn.Module) -> nn.Module:
    assert isinstance(module, nn.AvgPool2d)
    partial = bool(module.padding) and module.padding != (0, 0) and not module.count_include_pad
    if module.ceil_mode or module.divisor_override or partial:
        return module
    kernel = module.kernel_size
    return _Average((kernel, kernel) if isinstance(kernel, int) else kernel, module.stride, module.padding)


def _adaptive(module: nn.Module, replacement: Callable[[], nn.Module]) -> nn.Module:
    assert isinstance(module, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d)
    if module.output_size not in (1, (1, 1)) or getattr(module, "return_indices", False):
        return module
    return replacement()


_REPLACEMENTS: dict[type[nn.Module], Callable[[nn.Module], nn.Module]] = {
    nn.Linear: _Pointwise,
    nn.AvgPool2d: _average,
    nn.AdaptiveAvgPool2d: lambda module: _adaptive(module, lambda: _Average(None)),
    nn.AdaptiveMaxPool2d: lambda module: _adaptive(module, _GlobalMaximum),
    nn.LSTM: _recurrent,
    nn.GRU: _recurrent,
    FactoredRNN: _recurrent,
}
