"""Rewrites modules before conversion, so that all engines compute the same results.

The rewriting assumes a module in evaluation mode that may be changed. It keeps the function up to rounding. It changes
only plain modules, because a subclass may compute something else, and a hook would be lost.

- A batch normalisation is folded into the convolution before it, and an RReLU becomes a leaky ReLU; see
  :mod:`gatesearch.compile.fold`.
- ``Linear`` on [N, F] becomes a 1x1 convolution. For FULLY_CONNECTED, TensorFlow Lite Micro rounds ties differently
  from LiteRT, by one step in up to 0.7 % of int8 outputs. For CONV_2D, these two engines agree bit for bit, and CONV_2D
  is not slower on either.
- Average pooling becomes depthwise convolutions with equal weights (:mod:`gatesearch.graph.average_pool`).
  AVERAGE_POOL_2D has one scale for input and output. The mean over a large map is far smaller than the map's maximum,
  so only a few of the 256 int8 values would be left for means.
- Adaptive maximum pooling to a size that divides the map's size becomes pooling with a kernel, because the converter
  does not know the adaptive operator.
- An LSTM or GRU, dense or factored, runs its steps inside one operator (:mod:`gatesearch.compile.recurrence`). Traced
  one by one, the steps take minutes to convert.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gatesearch.compile import recurrence
from gatesearch.compile.fold import fold_batch_norms, is_plain, replace_random_slopes
from gatesearch.gates.factored import FactoredRNN, replace_layer
from gatesearch.gates.matrices import Factors
from gatesearch.graph.average_pool import Pair, Window, factor_window


def rewrite_operators(module: nn.Module) -> nn.Module:
    """Return the rewritten module; the children of a module are replaced in place.

    >>> rewrite_operators(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).eval())[1]
    Identity()
    """
    for block in list(module.modules()):
        fold_batch_norms(block)
        replace_random_slopes(block)
    return _replace(module)


def _replace(module: nn.Module) -> nn.Module:
    for kind, replacement in _REPLACEMENTS.items():
        if is_plain(module, kind):
            return replacement(module)
    for name, child in module.named_children():
        setattr(module, name, _replace(child))
    return module


class _Pointwise(nn.Module):
    """A linear layer as a 1x1 convolution over a map of one pixel."""

    def __init__(self, linear: nn.Module) -> None:
        super().__init__()
        assert isinstance(linear, nn.Linear)
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 2:
            return functional.linear(x, self.weight, self.bias)
        return functional.conv2d(x[:, :, None, None], self.weight[:, :, None, None], self.bias).flatten(1)


class _Average(nn.Module):
    """Average pooling as depthwise convolutions.

    A network may pool maps of several sizes with one module. So weights of each shape are a constant of their own,
    created when a map first needs it.

    Args:
        kernel: kernel of the pooling; None pools the whole map.
        stride, padding: stride and padding of the pooling.
        counts_pads: whether padded zeros count in a mean; if not, only the values inside the map do.
    """

    def __init__(
        self, kernel: Pair | None, stride: Pair | None = None, padding: Pair = (0, 0), counts_pads: bool = True
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding, self.counts_pads = kernel, stride, padding, counts_pads

    def forward(self, x: Tensor) -> Tensor:
        mean = self._pool(x)
        if self.counts_pads:
            return mean
        image = x.shape[-2:]
        return mean * self._constant(f"scale_{image[0]}_{image[1]}", lambda: 1 / self._pool(torch.ones(1, 1, *image)))

    def _pool(self, x: Tensor) -> Tensor:
        kernel = self.kernel or (x.shape[-2], x.shape[-1])
        for window in factor_window(Window(kernel, self.stride or kernel, self.padding)):
            shape = (x.shape[1], 1, *window.kernel)
            weight = self._constant(
                f"weight_{shape[0]}_{shape[2]}_{shape[3]}", partial(torch.full, shape, 1 / window.taps)
            )
            stride = window.effective_stride((x.shape[-2], x.shape[-1]))
            x = functional.conv2d(x, weight, stride=stride, padding=window.padding, groups=x.shape[1])
        return x

    def _constant(self, name: str, make: Callable[[], Tensor]) -> Tensor:
        if not hasattr(self, name):
            self.register_buffer(name, make())
        constant: Tensor = getattr(self, name)
        return constant


class _AdaptiveMaximum(nn.Module):
    """Adaptive maximum pooling; to a size that divides the map's size, it is pooling with a kernel."""

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        pair = self.output_size if isinstance(self.output_size, tuple) else (self.output_size, self.output_size)
        sizes = [size if parts is None else parts for parts, size in zip(pair, x.shape[-2:], strict=True)]
        if any(size % parts for size, parts in zip(x.shape[-2:], sizes, strict=True)):
            return functional.adaptive_max_pool2d(x, self.output_size)
        return functional.max_pool2d(x, [size // parts for size, parts in zip(x.shape[-2:], sizes, strict=True)])


class _Recurrent(nn.Module):
    """A recurrent layer, started from a state of zero, whose steps are one operator."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        rnn = module if isinstance(module, FactoredRNN) else replace_layer(module, Factors)
        assert isinstance(rnn, FactoredRNN)
        self.rnn = rnn

    def forward(self, x: Tensor) -> Any:
        return self.rnn.factored(x, run=recurrence.run)


def _recurrent(module: nn.Module) -> nn.Module:
    batch_first = getattr(module, "batch_first", True)
    return _Recurrent(module) if batch_first and not getattr(module, "proj_size", 0) else module


def _average(module: nn.Module) -> nn.Module:
    assert isinstance(module, nn.AvgPool2d)
    if module.ceil_mode or module.divisor_override:
        return module
    padding = _pair(module.padding)
    return _Average(
        _pair(module.kernel_size),
        _pair(module.stride),
        padding,
        counts_pads=module.count_include_pad or padding == (0, 0),
    )


def _pair(sizes: Any) -> Pair:
    height, width = (sizes, sizes) if isinstance(sizes, int) else sizes
    return height, width


def _adaptive_average(module: nn.Module) -> nn.Module:
    return _Average(None) if _is_global(module) else module


def _adaptive_maximum(module: nn.Module) -> nn.Module:
    return module if getattr(module, "return_indices", False) else _AdaptiveMaximum(module.output_size)


def _is_global(module: nn.Module) -> bool:
    assert isinstance(module, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d)
    return module.output_size in (1, (1, 1))


_REPLACEMENTS: dict[type[nn.Module], Callable[[nn.Module], nn.Module]] = {
    nn.Linear: _Pointwise,
    nn.AvgPool2d: _average,
    nn.AdaptiveAvgPool2d: _adaptive_average,
    nn.AdaptiveMaxPool2d: _adaptive_maximum,
    nn.LSTM: _recurrent,
    nn.GRU: _recurrent,
    FactoredRNN: _recurrent,
}
