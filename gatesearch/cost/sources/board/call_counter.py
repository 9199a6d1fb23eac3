"""Lists the kernel calls that compute a network's operators in int8.

A call is a :class:`gatesearch.gates.KernelCall`. A product, such as a convolution, counts as multiply-accumulates
(MACs) if there is no kernel for it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from torch import nn

from gatesearch.gates import KernelCall
from gatesearch.graph.operator_log import Operand, Operation, OperatorLog
from gatesearch.kernels import counted_kernels


class CallCounter(OperatorLog):
    """A context in which a module's operators are recorded as kernel calls in int8, or else as MACs.

    Every operator of :meth:`~gatesearch.graph.operator_log.OperatorLog.operations` is counted in one of the two ways.
    An operator that has neither products nor a kernel counts as a sum of as many values as it processes.

    Attributes:
        calls: the kernel calls, once the context has ended.
        others: MACs of products without a kernel, by operator.

    >>> import torch
    >>> layer = nn.Conv2d(3, 8, 3, padding=1).eval()
    >>> with torch.no_grad(), CallCounter(layer) as counter:
    ...     _ = layer(torch.zeros(1, 3, 4, 4))
    >>> [(call.kernel, call.shape[:4]) for call in counter.calls], counter.other_macs
    ([('conv', (4, 4, 3, 8))], 0)
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module)
        self.calls: list[KernelCall] = []
        self.others = Counter[str]()

    @property
    def other_macs(self) -> int:
        """MACs of products without a kernel."""
        return self.others.total()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for operation in self.operations():
            calls = list(kernel_calls(operation))
            self.calls += calls
            if operation.macs and not calls:
                self.others[operation.name] += operation.macs


def kernel_calls(operation: Operation) -> Iterator[KernelCall]:
    """Yield the kernel calls of an operator; none for a product without a kernel, or for an operator without work."""
    listing = _LISTINGS.get(operation.name)
    calls = () if listing is None else tuple(listing(*operation.args))
    if operation.layer is not None:
        calls = tuple(_cells(operation))
    if not calls and operation.values:
        calls = (KernelCall("sum", (operation.values,)),)
    elif operation.macs and operation.values:
        calls += (KernelCall("sum", (operation.values,)),)  # an attention: its softmax counts as a sum
    yield from calls


def macs_of_call(call: KernelCall) -> float:
    """Return the MACs of a call that skips nothing.

    >>> macs_of_call(KernelCall("conv", (8, 8, 16, 32, 3, 3, 1, 1, 1, 1, 1, 1)))
    294912.0
    """
    return counted_kernels()[call.kernel].macs(call)


def _convolution(
    x: Operand,
    weight: Operand,
    _: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    *rest: Any,
) -> Iterator[KernelCall]:
    """Yield the calls of a convolution over 1 to 3 axes: one for each image, group and slice of the kernel."""
    if transposed:
        return
    groups, channels = rest[-1], x.shape[1]
    is_depthwise = groups == channels and groups > 1
    axes = len(weight.shape) - 2
    spread = [_pair(sizes, fill) for sizes, fill in ((weight.shape[2:], 1), (stride, 1), (padding, 0), (dilation, 1))]
    slices = 1
    if axes == 3:  # each slice of the output sums one convolution for each slice of the kernel
        depth = (x.shape[2] + 2 * padding[0] - dilation[0] * (weight.shape[2] - 1) - 1) // stride[0] + 1
        slices = depth * weight.shape[2]
    sizes = (*x.shape[2:], 1)[:2] if axes < 3 else x.shape[3:]  # a sequence is an image of one column
    inputs, outputs = (channels, weight.shape[0]) if is_depthwise else (channels // groups, weight.shape[0] // groups)
    geometry = (*map(int, sizes), inputs, outputs, *(size for pair in spread for size in pair))
    call = KernelCall("depthwise", geometry) if is_depthwise else _conv(geometry)
    yield from [call] * (x.shape[0] * slices * (1 if is_depthwise else groups))


def _product(a: Operand, b: Operand, *rest: Any) -> Iterator[KernelCall]:
    """Yield the calls of a product of matrices [..., n, k] and [..., k, m]: 1 x 1 convolutions over n pixels."""
    columns = b.shape[-1] if b.ndim > 1 else 1
    rows = a.shape[-2] if a.ndim > 1 else 1
    yield from [_matrix(rows, a.shape[-1], columns)] * (a.shape[0] if a.ndim == 3 else 1)


def _attention(query: Operand, key: Operand, value: Operand, *rest: Any) -> Iterator[KernelCall]:
    """Yield the two matrix products of an attention, for each sample and head; operands are [..., tokens, width]."""
    for _ in range(math.prod(query.shape[:-2])):
        yield _matrix(query.shape[-2], query.shape[-1], key.shape[-2])
        yield _matrix(query.shape[-2], key.shape[-2], value.shape[-1])


def _linear(x: Operand, weight: Operand, *rest: Any) -> Iterator[KernelCall]:
    yield _matrix(math.prod(x.shape[:-1]), x.shape[-1], weight.shape[0])


def _added_product(_: Any, a: Operand, b: Operand, *rest: Any) -> Iterator[KernelCall]:
    yield from _product(a, b)


def _pool(
    kernel: str, x: Operand, size: Any, stride: Any = (), padding: Any = (0, 0), *rest: Any
) -> Iterator[KernelCall]:
    """Yield a pooling over windows of an image."""
    if x.ndim != 4:
        return
    pairs = [_pair(size, 1), _pair(stride or size, 1), _pair(padding, 0)]
    geometry = (*map(int, x.shape[2:]), x.shape[1], x.shape[1], *(n for pair in pairs for n in pair), 1, 1)
    yield from [KernelCall(kernel, geometry)] * x.shape[0]


def _reduction(kernel: str, x: Operand, axes: Any = (), *rest: Any) -> Iterator[KernelCall]:
    """Yield the pooling that computes a mean or largest value over an image, or over the steps of a sequence.

    Axes may have any order. Of the axes that remain, the first is the batch and the second the channels.
    """
    if not isinstance(axes, list | tuple):
        return
    over = sorted({axis % x.ndim for axis in axes})
    sides = [x.shape[axis] for axis in over]
    batch_and_channels = [size for axis, size in enumerate(x.shape) if axis not in over]
    if not 1 <= len(sides) <= 2 or len(batch_and_channels) != 2:
        return
    image = Operand(x.number, (*batch_and_channels, *sides, *[1] * (2 - len(sides))))
    yield from _pool(kernel, image, image.shape[2:], (1, 1), (0, 0))


def _adaptive_pool(kernel: str, x: Operand, size: Any, *rest: Any) -> Iterator[KernelCall]:
    """Yield an adaptive pooling if its windows are equal: the output's size has to divide the image's size."""
    if x.ndim == 4 and all(n % places == 0 for n, places in zip(x.shape[2:], size, strict=True)):
        window = [n // places for n, places in zip(x.shape[2:], size, strict=True)]
        yield from _pool(kernel, x, window, (1, 1) if all(places == 1 for places in size) else window)


def _cells(operation: Operation) -> Iterator[KernelCall]:
    """Yield the calls of a recurrent layer: one for each of its layers and directions, and each sequence."""
    layer = operation.layer
    assert layer is not None
    x = operation.inputs[0]
    steps = x.shape[1 if layer.batch_first and x.ndim == 3 else 0]
    batch = math.prod(x.shape[:-1]) // steps
    directions = 2 if layer.bidirectional else 1
    for depth in range(layer.num_layers):
        columns = layer.input_size if depth == 0 else layer.hidden_size * directions
        call = KernelCall(operation.name, (steps, columns, layer.hidden_size), (("parts", 1),), (("rich", 1.0),))
        yield from [call] * (directions * batch)


def _matrix(rows: int, inner: int, columns: int) -> KernelCall:
    return _conv((rows, 1, inner, columns, 1, 1, 1, 1, 0, 0, 1, 1))


def _conv(geometry: tuple[int, ...]) -> KernelCall:
    return KernelCall("conv", geometry, (), (("inputs", 1.0), ("outputs", 1.0)))


def _pair(sizes: Sequence[int], fill: int) -> tuple[int, int]:
    """Return the vertical and the horizontal size: the last two of several sizes; a single size is vertical."""
    *_, first, second = sizes if len(sizes) > 1 else (*sizes, fill)
    return int(first), int(second)


_LISTINGS: Mapping[str, Callable[..., Iterator[KernelCall]]] = {
    "convolution": _convolution,
    **dict.fromkeys(("mm", "bmm", "mv", "dot", "vdot"), _product),
    **dict.fromkeys(("addmm", "baddbmm", "addmv"), _added_product),
    "addbmm": _added_product,
    "linear": _linear,
    "avg_pool2d": partial(_pool, "average"),
    "max_pool2d_with_indices": partial(_pool, "largest"),
    "mean": partial(_reduction, "average"),
    "amax": partial(_reduction, "largest"),
    "sum": partial(_reduction, "average"),
    "_adaptive_avg_pool2d": partial(_adaptive_pool, "average"),
    "adaptive_max_pool2d": partial(_adaptive_pool, "largest"),
    **dict.fromkeys(
        (
            "_scaled_dot_product_flash_attention",
            "_scaled_dot_product_flash_attention_for_cpu",
            "_scaled_dot_product_efficient_attention",
            "_scaled_dot_product_cudnn_attention",
        ),
        _attention,
    ),
}
