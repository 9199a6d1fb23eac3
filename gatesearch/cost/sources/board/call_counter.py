"""The kernel calls of a network's layers in int8.

A call is a :class:`gatesearch.gates.KernelCall`. Layers without a kernel count as multiply-accumulates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from gatesearch.gates import KernelCall
from gatesearch.graph.operators import RECURRENT
from gatesearch.kernels import counted_kernels
from gatesearch.kernels.geometry import output_size


class CallCounter(TorchDispatchMode):
    """Lists the operators that run inside it as kernel calls in int8; the others count as multiply-accumulates.

    Args:
        module: its recurrent layers are listed whole, not operator by operator.

    >>> layer = nn.Conv2d(3, 8, 3, padding=1).eval()
    >>> with torch.no_grad(), CallCounter(layer) as counter:
    ...     _ = layer(torch.zeros(1, 3, 4, 4))
    >>> [(call.kernel, call.shape[:4]) for call in counter.calls], counter.other_macs
    ([('conv', (4, 4, 3, 8))], 0)
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.calls: list[KernelCall] = []
        self.other_macs = 0
        self._inside = 0
        self._layers = [m for m in module.modules() if type(m) in RECURRENT]
        self._hooks: list[Any] = []

    def __enter__(self) -> CallCounter:
        for layer in self._layers:
            self._hooks += [
                layer.register_forward_pre_hook(self._enter_layer),
                layer.register_forward_hook(self._leave_layer),
            ]
        super().__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        super().__exit__(kind, value, traceback)
        for hook in self._hooks:
            hook.remove()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if not self._inside and func in _LISTED:
            _LISTED[func](self, *args)
        return output

    def convolution(
        self, x: Any, weight: Any, _: Any, stride: Any, padding: Any, dilation: Any, transposed: bool, *more: Any
    ) -> None:
        """List a convolution; one with groups, for which there is no kernel, counts as multiply-accumulates."""
        groups = more[-1]
        spread = [
            _pair(sizes, fill) for sizes, fill in ((weight.shape[2:], 1), (stride, 1), (padding, 0), (dilation, 1))
        ]
        sizes = (*x.shape[2:], 1)[:2]  # a sequence is an image of one column
        geometry = (*map(int, sizes), x.shape[1], weight.shape[0], *(size for pair in spread for size in pair))
        if transposed or (groups != 1 and groups != x.shape[1]):
            # In a transposed convolution each input value meets all weights of its channel.
            height, width = sizes if transposed else output_size(geometry)
            self.other_macs += int(x.shape[0] * height * width * weight.numel())
            return
        self.calls += [_conv(geometry) if groups == 1 else KernelCall("depthwise", geometry)] * x.shape[0]

    def product(self, a: Any, b: Any) -> None:
        """List a product of matrices [..., n, k] and [..., k, m], as a convolution of 1 x 1 over n pixels."""
        batch = a.shape[0] if a.ndim == 3 else 1
        geometry = (a.shape[-2], 1, a.shape[-1], b.shape[-1], 1, 1, 1, 1, 0, 0, 1, 1)
        self.calls += [_conv(geometry)] * batch

    def attention(self, query: Any, key: Any, value: Any) -> None:
        """List the two products of an attention, [batch, heads, tokens, width]."""
        for _ in range(query.shape[0] * query.shape[1]):
            self.product(query[0, 0], key[0, 0].T)
            self.product(key.new_empty(query.shape[2], key.shape[2]), value[0, 0])

    def pool(self, kernel: str, x: Any, size: Any, stride: Any, padding: Any) -> None:
        """List a pooling over windows of an image."""
        pairs = [_pair(size, 1), _pair(stride or size, 1), _pair(padding, 0)]
        geometry = (*map(int, x.shape[2:]), x.shape[1], x.shape[1], *(n for pair in pairs for n in pair), 1, 1)
        self.calls += [KernelCall(kernel, geometry)] * x.shape[0]

    def mean(self, kernel: str, x: Any, axes: Any) -> None:
        """List a mean or largest value over an image, or over the steps of a sequence."""
        over = {axis % x.ndim for axis in axes}
        if over == {4: {2, 3}, 3: {1}}.get(x.ndim):
            image = x if x.ndim == 4 else x.movedim(-1, 1)[..., None]
            self.pool(kernel, image, image.shape[2:], (1, 1), (0, 0))

    def sum(self, a: Any, b: Any) -> None:
        """List a sum of two maps of one size; the sum with a bias belongs to its product."""
        if isinstance(b, torch.Tensor) and a.shape == b.shape and a.ndim > 2:
            self.calls += [KernelCall("sum", (a[0].numel(),))] * a.shape[0]

    def _enter_layer(self, *_: Any) -> None:
        self._inside += 1

    def _leave_layer(self, layer: nn.RNNBase, inputs: tuple[Any, ...], output: Any) -> None:
        self._inside -= 1
        steps = inputs[0].shape[1 if layer.batch_first and inputs[0].ndim == 3 else 0]
        directions = 2 if layer.bidirectional else 1
        for depth in range(layer.num_layers):
            columns = layer.input_size if depth == 0 else layer.hidden_size * directions
            shape = (steps, columns, layer.hidden_size)
            call = KernelCall(RECURRENT[type(layer)], shape, (("parts", 1),), (("rich", 1.0),))
            self.calls += [call] * directions


def _conv(geometry: tuple[int, ...]) -> KernelCall:
    return KernelCall("conv", geometry, (), (("inputs", 1.0), ("outputs", 1.0)))


def _pair(sizes: Sequence[int], fill: int) -> tuple[int, int]:
    """Return the vertical and the horizontal size; a single size is vertical, and ``fill`` the horizontal one."""
    first, *rest = sizes
    return int(first), int(rest[0]) if rest else fill


_aten = torch.ops.aten
_LISTED: Mapping[Any, Any] = {
    _aten.convolution.default: CallCounter.convolution,
    _aten.mm.default: CallCounter.product,
    _aten.avg_pool2d.default: lambda self, x, size, stride=(), padding=(0, 0), *more: self.pool(
        "average", x, size, stride, padding
    ),
    _aten.max_pool2d_with_indices.default: lambda self, x, size, stride=(), padding=(0, 0), *more: self.pool(
        "largest", x, size, stride, padding
    ),
    _aten.mean.dim: lambda self, x, axes, *more: self.mean("average", x, axes),
    _aten.amax.default: lambda self, x, axes, *more: self.mean("largest", x, axes),
    _aten.add.Tensor: lambda self, a, b, *more: self.sum(a, b),
    _aten.bmm.default: CallCounter.product,
    _aten.addmm.default: lambda self, _, a, b, *more: self.product(a, b),
    _aten.linear.default: lambda self, x, weight, *more: self.product(x.reshape(-1, x.shape[-1]), weight.T),
    _aten._scaled_dot_product_flash_attention_for_cpu.default: lambda self, q, k, v, *more: self.attention(q, k, v),
}


def macs_of_call(call: KernelCall) -> float:
    """Return the multiply-accumulates of a call that skips nothing.

    >>> macs_of_call(KernelCall("conv", (8, 8, 16, 32, 3, 3, 1, 1, 1, 1, 1, 1)))
    294912.0
    """
    return counted_kernels()[call.kernel].macs(call)
