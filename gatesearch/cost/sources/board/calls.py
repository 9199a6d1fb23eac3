"""Calls of kernels that a table is made of, and which ones the layers of a network are.

A call is a :class:`gatesearch.gates.KernelCall`. Beside those of gated layers (``fbs``, ``pg``, ``lstm``, ``gru``)
there are ``conv`` (a convolution or matrix product in int8, of some of its blocks of 16 input and output channels),
``gate`` (pooling and a linear layer, in float) and ``nothing``, which costs what the clock does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from types import TracebackType
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from gatesearch.gates import BLOCK, KernelCall
from gatesearch.graph.macs import RECURRENT
from gatesearch.kernels.build import SOURCES

NOTHING = KernelCall("nothing", (0,))
KERNELS = (  # in the order of runner/main.c
    *("nothing", "conv", "fbs", "pg", "lstm", "gru", "gate", "depthwise"),
    *("fbs_single", "fbs_pg", "lstm_lmf", "gru_lmf", "average", "largest", "sum"),
)
PLAIN = ("average", "largest", "sum")  # which multiply nothing
GATED_BITS = ("pg", "fbs_pg")  # whose share of open outputs comes about, a little off what is asked for
SHARES: Mapping[str, tuple[str, ...]] = {  # by kernel, in the order of the runner's shares
    "conv": ("inputs", "outputs"),
    "fbs": ("inputs", "outputs"),
    "pg": ("open",),
    "lstm": ("rich",),
    "gru": ("rich",),
    "fbs_single": ("inputs", "outputs"),
    "fbs_pg": ("inputs", "outputs", "open"),
    "lstm_lmf": ("kept",),
    "gru_lmf": ("kept",),
}
VARIANTS: Mapping[str, tuple[str, ...]] = {
    "pg": ("bytes", "group"),
    "fbs_pg": ("block", "group", "pieces"),
    "lstm": ("parts",),
    "gru": ("parts",),
}

# Shapes of the shipped backbones, whole and thinned out by gates: height, width, channels in and out, kernel, stride.
_CONVS = (
    *((49, 10, 1, 64, 10, 4, 2), (49, 10, 1, 16, 10, 4, 2), (25, 5, 64, 64, 1, 1, 1), (25, 5, 32, 64, 1, 1, 1)),
    *((25, 5, 64, 16, 1, 1, 1), (25, 5, 16, 16, 1, 1, 1), (32, 32, 3, 64, 3, 3, 1), (16, 16, 64, 128, 3, 3, 1)),
    *((8, 8, 128, 192, 3, 3, 1), (8, 8, 192, 192, 3, 3, 1), (32, 32, 16, 16, 3, 3, 1), (32, 32, 16, 32, 3, 3, 2)),
    *((16, 16, 32, 32, 3, 3, 1), (16, 16, 32, 64, 3, 3, 2), (8, 8, 64, 64, 3, 3, 1), (8, 8, 1, 32, 3, 3, 1)),
    *((4, 4, 64, 64, 3, 3, 1), (1, 1, 64, 12, 1, 1, 1), (1, 1, 192, 10, 1, 1, 1), (1, 1, 256, 64, 1, 1, 1)),
    *((12, 12, 24, 48, 1, 1, 1), (16, 8, 40, 20, 1, 1, 1), (24, 24, 1, 16, 5, 5, 2), (14, 14, 3, 24, 3, 3, 1)),
    *((1, 1, 30, 20, 1, 1, 1), (9, 9, 20, 40, 3, 3, 1), (49, 10, 1, 28, 8, 5, 2), (1, 1, 118, 12, 1, 1, 1)),
    *((50, 1, 64, 192, 1, 1, 1), (99, 1, 64, 256, 1, 1, 1), (99, 1, 256, 64, 1, 1, 1), (1, 1, 20, 1, 1, 1, 1)),
)
_THINNED = ((1.0, 0.5), (0.5, 1.0), (0.25, 0.5))
# None of these is above: what a table says of them is held against their own reading.
_OTHER_CONVS = (
    *((12, 12, 48, 96, 3, 3, 1), (18, 10, 56, 40, 1, 1, 1), (14, 14, 32, 64, 5, 5, 1), (7, 7, 96, 128, 3, 3, 2)),
    *((16, 16, 28, 36, 3, 3, 1), (1, 1, 90, 40, 1, 1, 1), (28, 7, 1, 40, 9, 3, 2), (20, 20, 3, 20, 3, 3, 2)),
    *((10, 10, 64, 80, 1, 1, 1), (64, 1, 128, 128, 1, 1, 1), (6, 6, 160, 96, 3, 3, 1), (1, 1, 500, 96, 1, 1, 1)),
)
_GATED = (
    *((16, 16, 64, 128, 3, 3, 1), (8, 8, 128, 128, 3, 3, 1), (8, 8, 32, 64, 3, 3, 1), (25, 5, 64, 64, 1, 1, 1)),
    *((9, 9, 32, 48, 1, 1, 1),),
)
_GATED_OTHER = ((12, 12, 48, 96, 3, 3, 1), (7, 11, 64, 112, 1, 1, 1))
_CELLS = ((10, 64), (10, 118), (40, 128), (9, 32), (64, 256))
_CELLS_OTHER = ((20, 96), (6, 180))
_DEPTHWISE = (
    *((25, 5, 64, 64, 3, 3, 1), (25, 5, 32, 32, 3, 3, 1), (25, 5, 16, 16, 3, 3, 1), (25, 5, 276, 276, 3, 3, 1)),
    *((25, 5, 24, 24, 3, 3, 1), (13, 3, 64, 64, 3, 3, 1), (16, 16, 32, 32, 5, 5, 1), (16, 16, 64, 64, 3, 3, 2)),
    *((12, 12, 56, 56, 5, 5, 1), (20, 20, 8, 8, 3, 3, 1), (7, 7, 90, 90, 3, 3, 1), (14, 10, 20, 20, 5, 5, 2)),
    *((6, 6, 160, 160, 3, 3, 1), (30, 10, 40, 40, 3, 3, 2), (10, 10, 13, 13, 5, 5, 1), (18, 18, 72, 72, 3, 3, 1)),
)
_POOLS = (
    *((25, 5, 64, 64, 25, 5, 1), (8, 8, 64, 64, 2, 2, 2), (16, 16, 24, 24, 2, 2, 2), (8, 8, 192, 192, 8, 8, 1)),
    *((12, 12, 32, 32, 3, 3, 1), (30, 30, 16, 16, 2, 2, 2), (4, 4, 48, 48, 4, 4, 1), (25, 5, 20, 20, 25, 5, 1)),
    *((12, 12, 56, 56, 3, 3, 1), (9, 9, 7, 7, 3, 3, 1), (10, 6, 90, 90, 10, 6, 1), (6, 6, 13, 13, 2, 2, 2)),
)
_POOLS_OTHER = ((13, 9, 40, 40, 13, 9, 1), (14, 14, 48, 48, 2, 2, 2), (10, 10, 64, 64, 3, 3, 1))
_SUMS, _SUMS_OTHER = (64, 500, 8000, 16384), (1250, 6272)
_DEPTHWISE_OTHER = ((20, 8, 48, 48, 3, 3, 1), (9, 9, 40, 40, 5, 5, 1), (24, 10, 128, 128, 3, 3, 2))


def listed() -> tuple[KernelCall, ...]:
    """Return the calls that every table is made of, the empty one first."""
    return (NOTHING, *_spanning(_CONVS, _GATED, _CELLS, _DEPTHWISE), *_further(_GATED, _CELLS, _POOLS, _SUMS))


def held_out() -> tuple[KernelCall, ...]:
    """Return further calls, of other shapes and shares, that what a table says is held against."""
    others = _spanning(_OTHER_CONVS, _GATED_OTHER, _CELLS_OTHER, _DEPTHWISE_OTHER, (0.75,), ((0.75, 0.75),))
    return (*others, *_further(_GATED_OTHER, _CELLS_OTHER, _POOLS_OTHER, _SUMS_OTHER, (0.75,), (1 / 3,)))


def _spanning(
    convs: Sequence[tuple[int, ...]],
    gated: Sequence[tuple[int, ...]],
    recurrent: Sequence[tuple[int, int]],
    depthwise: Sequence[tuple[int, ...]],
    shares: Sequence[float] = (0.25, 0.5, 1.0),
    thinned: Sequence[tuple[float, float]] = _THINNED,
) -> Iterator[KernelCall]:
    for shape in convs:
        yield KernelCall("conv", whole(*shape), (), (("inputs", 1.0), ("outputs", 1.0)))
    for shape in gated:
        for inputs, outputs in thinned:
            yield KernelCall("conv", whole(*shape), (), (("inputs", inputs), ("outputs", outputs)))
        for inputs, outputs in product(sorted({1.0, thinned[-1][0]}), shares):
            yield KernelCall("fbs", whole(*shape), (), (("inputs", inputs), ("outputs", outputs)))
        for size, group, left in product((1, 2), (1, 8, 16, shape[3]), (0.0, *shares)):
            yield KernelCall("pg", whole(*shape), (("bytes", size), ("group", group)), (("open", left),))
        yield KernelCall("gate", (*shape[:2], shape[2]))
    for shape in depthwise if (SOURCES / "depthwise.c").exists() else ():
        yield KernelCall("depthwise", whole(*shape))
    for columns, height in recurrent:
        for kernel, parts, rich in product(("lstm", "gru"), (1, 2), (*shares[:2], 1.0)):
            yield KernelCall(kernel, (1, columns, height), (("parts", parts),), (("rich", rich),))


def _further(
    gated: Sequence[tuple[int, ...]],
    recurrent: Sequence[tuple[int, int]],
    pools: Sequence[tuple[int, ...]],
    sums: Sequence[int],
    shares: Sequence[float] = (0.25, 0.5, 1.0),
    kept: Sequence[float] = (0.25, 0.5),
) -> Iterator[KernelCall]:
    """Yield calls of what gathers the filters of winners, of low-rank cells, pooling and sums."""
    for shape in gated:
        for inputs, outputs in product(sorted({1.0, shares[len(shares) // 2]}), shares):
            left = (("inputs", inputs), ("outputs", outputs))
            yield KernelCall("fbs_single", whole(*shape), (), left)
            for block, group in product((1, BLOCK), (1, BLOCK)):
                # Which is open of how much: not every combination of all shares.
                share = {0: 0.0, 1: 0.3, 2: 1.0}[(round(8 * (inputs + outputs)) // 2 + (group > 1)) % 3]
                pieces = 1 if (inputs, block) == (1.0, BLOCK) else 2
                variant = (("block", block), ("group", group), ("pieces", pieces))
                yield KernelCall("fbs_pg", whole(*shape), variant, (*left, ("open", share)))
    for columns, height in recurrent:
        for cell, share in product(("lstm_lmf", "gru_lmf"), kept):
            yield KernelCall(cell, (1, columns, height), (), (("kept", share),))
    for shape in pools:
        same = (*whole(*shape)[:8], *((1, 1) if shape[-1] == 1 and shape[4] < shape[0] else (0, 0)), 1, 1)
        yield KernelCall("average", same)
        yield KernelCall("largest", same)
    for n in sums:
        yield KernelCall("sum", (n,))


def whole(h: int, w: int, c_in: int, c_out: int, kh: int, kw: int, stride: int) -> tuple[int, ...]:
    """Return the geometry of a convolution that is padded to keep its size, strides aside.

    >>> whole(8, 8, 16, 32, 3, 3, 1)
    (8, 8, 16, 32, 3, 3, 1, 1, 1, 1, 1, 1)
    """
    return (h, w, c_in, c_out, kh, kw, stride, stride, kh // 2, (kw - 1) // 2, 1, 1)


class CallCounter(TorchDispatchMode):
    """Lists what runs while it is open, as calls in int8 of one sample; the rest is counted as multiply-accumulates.

    Args:
        module: whose recurrent layers are listed whole.

    >>> layer = nn.Conv2d(3, 8, 3, padding=1).eval()
    >>> with torch.no_grad(), CallCounter(layer) as seen:
    ...     _ = layer(torch.zeros(1, 3, 4, 4))
    >>> [(call.kernel, call.shape[:4]) for call in seen.calls], seen.other_macs
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
                layer.register_forward_pre_hook(self._entered),
                layer.register_forward_hook(self._left),
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
        made = func(*args, **(kwargs or {}))
        if not self._inside and func in _LISTED:
            _LISTED[func](self, *args)
        return made

    def convolution(
        self, x: Any, weight: Any, _: Any, stride: Any, padding: Any, dilation: Any, transposed: bool, *more: Any
    ) -> None:
        """List a convolution; one in groups, of which there is no kernel, counts as multiply-accumulates."""
        groups = more[-1]
        spread = [
            _pair(sizes, fill) for sizes, fill in ((weight.shape[2:], 1), (stride, 1), (padding, 0), (dilation, 1))
        ]
        sizes = (*x.shape[2:], 1)[:2]  # a sequence is an image of one column
        geometry = (*map(int, sizes), x.shape[1], weight.shape[0], *(size for pair in spread for size in pair))
        if transposed or (groups != 1 and groups != x.shape[1]):
            # Transposed, each value of the input meets all weights of its channel.
            height, width = sizes if transposed else outputs(geometry)
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
        """List a sum of two maps of one size; a bias belongs to its product."""
        if isinstance(b, torch.Tensor) and a.shape == b.shape and a.ndim > 2:
            self.calls += [KernelCall("sum", (a[0].numel(),))] * a.shape[0]

    def _entered(self, *_: Any) -> None:
        self._inside += 1

    def _left(self, layer: nn.RNNBase, inputs: tuple[Any, ...], output: Any) -> None:
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
    """Return vertical and horizontal; what has one dimension is vertical."""
    first, *rest = sizes
    return int(first), int(rest[0]) if rest else fill


def outputs(geometry: Sequence[int]) -> tuple[int, int]:
    """Return height and width of what a convolution gives."""
    h, w, _, _, kh, kw, sh, sw, ph, pw, dh, dw = geometry
    return (h + 2 * ph - dh * (kh - 1) - 1) // sh + 1, (w + 2 * pw - dw * (kw - 1) - 1) // sw + 1


def macs_of(call: KernelCall) -> float:
    """Return the multiply-accumulates of a call of a convolution, a matrix product or a cell, nothing left out.

    >>> macs_of(KernelCall("conv", (8, 8, 16, 32, 3, 3, 1, 1, 1, 1, 1, 1)))
    294912.0
    """
    if call.kernel in PLAIN:
        return 0.0
    if call.kernel in RECURRENT.values():
        steps, columns, height = call.shape
        return float(steps * (4 if call.kernel == "lstm" else 3) * height * (columns + height))
    if len(call.shape) < 12:
        return float(math.prod(call.shape))
    height, width = outputs(call.shape)
    per_channel = 1 if call.kernel == "depthwise" else call.shape[2]
    return float(height * width * call.shape[3] * per_channel * call.shape[4] * call.shape[5])


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
