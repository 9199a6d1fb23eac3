"""The same function in operators that every engine and the NPU run alike: what a module needs before conversion.

Assumes a module in evaluation mode that may be changed. Guarantees the same function up to rounding, and touches plain
modules alone: a subclass may mean something else, and a hook would be lost.

- A batch normalisation folds into the convolution before it; see :mod:`gatesearch.compile.fold`.
- ``Linear`` on [N, F] becomes a 1x1 convolution: FULLY_CONNECTED rounds ties in TFLM differently from LiteRT (one step
  in up to 0.7 % of int8 outputs), CONV_2D is equal bit for bit. It costs no time on either.
- Average pooling becomes a depthwise convolution with equal weights: AVERAGE_POOL_2D has one scale for input and
  output, so that the mean over a large map, which is far smaller than the map's maximum, gets a few int8 steps only.
- Adaptive maximum pooling to a size that divides the map's becomes pooling with a kernel: it does not convert
  otherwise.
- An LSTM or GRU, dense or over factors, takes its steps inside one operator (:mod:`gatesearch.compile.recurrence`):
  traced one by one, they take minutes to convert.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gatesearch.compile import recurrence
from gatesearch.compile.fold import fold_batch_norms, is_plain
from gatesearch.gates.factored import FactoredRNN, in_place_of
from gatesearch.gates.matrices import Factors


def rewrite_operators(module: nn.Module) -> nn.Module:
    """Return the module rewritten, in place where it has children.

    >>> rewrite_operators(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).eval())[1]
    Identity()
    """
    for block in list(module.modules()):
        fold_batch_norms(block)
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
    """Average pooling as a depthwise convolution; over the whole map where no kernel is given.

    Each shape of weights is a constant of its own, made when a map first needs it: a network may pool maps of several
    sizes with one module.

    Args:
        kernel, stride, padding: of the pooling; no kernel pools the whole map.
        counts_pads: whether zeros beyond the border count; if not, each place is divided by the values that it covers.
    """

    def __init__(
        self, kernel: tuple[int, int] | None, stride: Any = 1, padding: Any = 0, counts_pads: bool = True
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding, self.counts_pads = kernel, stride, padding, counts_pads

    def forward(self, x: Tensor) -> Tensor:
        height, width = self.kernel or x.shape[-2:]
        weight = self._constant(
            f"weight_{x.shape[1]}_{height}_{width}",
            lambda: torch.full((x.shape[1], 1, height, width), 1 / (height * width)),
        )
        # Over the whole map there is one position, and the NPU knows no stride beyond 3.
        stride = 1 if weight.shape[2:] == x.shape[2:] else self.stride
        mean = functional.conv2d(x, weight, stride=stride, padding=self.padding, groups=x.shape[1])
        if self.counts_pads:
            return mean
        return mean * self._constant(f"scale_{x.shape[2]}_{x.shape[3]}", lambda: 1 / self._covered(x, weight))

    def _covered(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return the share of the kernel that lies on the map at each place, [1, 1, h, w]."""
        ones = torch.ones(1, 1, *x.shape[2:])
        return functional.conv2d(ones, weight[:1], stride=self.stride, padding=self.padding)

    def _constant(self, name: str, make: Callable[[], Tensor]) -> Tensor:
        if not hasattr(self, name):
            self.register_buffer(name, make())
        constant: Tensor = getattr(self, name)
        return constant


class _AdaptiveMaximum(nn.Module):
    """Maximum pooling to a size that divides the map's, as pooling with a kernel; to any other size as it was."""

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
    """A recurrent layer whose steps are one operator; from a state of zero."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        rnn = module if isinstance(module, FactoredRNN) else in_place_of(module, Factors)
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
    kernel, is_padded = module.kernel_size, module.padding not in (0, (0, 0))
    return _Average(
        (kernel, kernel) if isinstance(kernel, int) else kernel,
        module.stride,
        module.padding,
        counts_pads=module.count_include_pad or not is_padded,
    )


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
