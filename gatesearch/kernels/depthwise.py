"""Depthwise convolution in int8: one filter for each channel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from ctypes import byref
from itertools import groupby, product
from typing import Any, ClassVar

import numpy as np
import torch
from torch.nn import functional as F

from gatesearch.gates import BLOCK, KernelCall
from gatesearch.kernels import native
from gatesearch.kernels.arrays import Array, address, check_array, match_type, pad_to_blocks
from gatesearch.kernels.base import CountedKernel, Listing
from gatesearch.kernels.conv import BYTES, requantise
from gatesearch.kernels.geometry import Geometry, output_size
from gatesearch.kernels.library import ADDRESS, INT, SHAPE, SOURCES, Library, Signatures, bind_call
from gatesearch.kernels.work_terms import Terms, conv_macs, taps_inside, window_taps

STRIP = 128  # pairs of rows that a strip holds, GS_COLUMN_ROOM of depthwise_dsp.h


class DepthwiseU8:
    """A depthwise convolution of uint8 activations with int8 weights; x [h, w, c] to y [h', w', c], uint8.

    y = clip(round(scale (conv(x - zero) + bias)) + zero_out, 0, 255)

    Args:
        geometry: the geometry of the layer, with c_in = c_out.
        weight: int8 [c, kh, kw].
        zero, zero_out: the values of x and of y that represent 0.
        bias: int32 [c]; None means 0.
        scale: float32 [c]; None means 1.
        library: the compiled kernels; None loads the best ones for this CPU.

    >>> layer = DepthwiseU8(Geometry((2, 2), 3, 3, (2, 2)), np.ones((3, 2, 2), np.int8))
    >>> layer(np.full((2, 2, 3), 5, np.uint8)).tolist()
    [[[20, 20, 20]]]
    """

    def __init__(
        self,
        geometry: Geometry,
        weight: Any,
        zero: int = 0,
        zero_out: int = 0,
        bias: Any = None,
        scale: Any = None,
        library: Library | None = None,
    ) -> None:
        if geometry.c_in != geometry.c_out:
            raise ValueError(f"{geometry.c_in} channels in, {geometry.c_out} out: both must be the same")
        self.geometry, self.zero, self.zero_out = geometry, zero, zero_out
        self.weight = check_array(weight, "weight", np.int8, (geometry.c_out, *geometry.kernel))
        self.bias = pad_to_blocks(bias, "bias", np.int32, geometry.c_out, 0)
        self.scale = pad_to_blocks(scale, "scale", np.float32, geometry.c_out, 1)
        self.library = library or native.load()
        self._shape, self._by_tap = geometry.c, np.ascontiguousarray(self.weight.transpose(1, 2, 0))

    def __call__(self, x: Any) -> Any:
        """Return y for x, uint8 [h, w, c]."""
        g = self.geometry
        image = check_array(x, "x", np.uint8, (*g.image, g.c_in))
        y = np.empty((*g.output, g.c_out), np.uint8)
        self.bind(image, y)()
        return match_type(x, y)

    def bind(self, x: Array, y: Array) -> Callable[[], None]:
        """Return a function that runs the kernel on arrays at fixed addresses."""
        g = self.geometry
        check_array(x, "x", np.uint8, (*g.image, g.c_in))
        check_array(y, "y", np.uint8, (*g.output, g.c_out))
        if not self.library:
            return lambda: np.copyto(y, self.reference(x))
        arguments = (
            byref(self._shape),
            address(x),
            self.zero,
            address(self._by_tap),
            address(self.bias),
            address(self.scale),
            self.zero_out,
            address(y),
        )
        return bind_call(self.library.function("depthwise_u8"), arguments, x, y, self)

    def reference(self, x: Array) -> Array:
        """Return y, computed in torch and numpy."""
        g = self.geometry
        image = torch.from_numpy(x.astype(np.float64) - self.zero).movedim(-1, 0)[None]
        filters = torch.from_numpy(self.weight.astype(np.float64))[:, None]
        sums = F.conv2d(image, filters, None, g.stride, g.padding, g.dilation, g.c_out)[0].movedim(0, -1)
        whole = sums.numpy().round().astype(np.int64) + self.bias[: g.c_out]
        scale = self.scale[: g.c_out]
        return requantise(whole, scale, np.zeros_like(scale), BYTES, self.zero_out).astype(np.uint8)


class DepthwiseKernel(CountedKernel):
    """Depthwise convolutions in int8."""

    name = "depthwise"
    source = SOURCES / "depthwise.c"
    rank = 7
    runner = "depthwise"
    case = 11
    listings = ("depthwise",)
    signatures: ClassVar[Signatures] = {
        "depthwise_u8": (None, (SHAPE, ADDRESS, INT, ADDRESS, ADDRESS, ADDRESS, INT, ADDRESS))
    }

    def table_calls(self, listing: Listing) -> Iterator[KernelCall]:
        """Yield the one call of the listing's shape."""
        yield KernelCall(self.name, listing.shape)

    def macs(self, call: KernelCall) -> float:
        """Return the multiply-accumulates: one for each tap, channel and output pixel."""
        return conv_macs(call.shape) / call.shape[2]

    def work(self, call: KernelCall, tile: int) -> Terms:
        """Return the work terms, which count loop iterations by pixel, block of channels and tap.

        Rows and columns are those of a filter at one pixel. Only taps inside the image count. The channels behind the
        last full block form the ragged block. The compiled loop computes them in groups of four, and the last one to
        three channels one by one.
        """
        _, _, _, channels, kh, kw, *_ = call.shape
        out_h, out_w = output_size(call.shape)
        pixels, rest = float(out_h * out_w), channels % BLOCK
        taps, rows = window_taps(call.shape)
        full, ragged = channels // BLOCK, 1.0 if rest else 0.0
        return {
            "call": 1.0,
            "pixels": pixels,
            "full blocks": pixels * full,
            "taps of full blocks": taps * full,
            "rows of taps": rows * (full + ragged),
            "rows looked at": pixels * kh * (full + ragged),
            "columns of rows": rows * kw * (full + ragged),
            "ragged blocks": pixels * ragged,
            "taps of ragged blocks": taps * ragged,
            "single channels": pixels * rest,
            "taps of single channels": taps * rest,
            "taps of fours of channels": taps * (rest // 4),
            "taps of channels behind fours": taps * (rest % 4),
            **_strip_terms(call.shape),
            **_rectangle_terms(call.shape),
        }


def _strip_terms(shape: Sequence[int]) -> Terms:
    """Return the work terms of the loops of ``depthwise_dsp.h``: over fours of channels, strips, rows and windows.

    A strip holds as many columns of the map as fit into the loop's memory. For each row of outputs, its input rows are
    paired. A kernel of a single row is transposed.
    """
    h, w, channels, _, kh, kw, stride_h, stride_w, pad_h, pad_w, *_ = shape
    out_h, out_w = output_size(shape)
    if kh == 1:
        w, out_h, out_w, kh, kw, stride_w, pad_w = h, out_w, out_h, kw, kh, stride_h, pad_h
    groups, pairs = -(-channels // 4), -(-kh // 2)
    most = max(1, (STRIP // pairs - kw) // stride_w + 1)
    inside = outside = 0
    for first in range(0, out_w, most):
        left = first * stride_w - pad_w
        right = left + (min(most, out_w - first) - 1) * stride_w + kw
        columns = min(right, w) - max(left, 0)
        inside += columns
        outside += right - left - columns
    strips = -(-out_w // most)
    terms = {
        "groups": 1,
        "pairs of weights": kw * pairs,
        "strips": strips,
        "columns outside": outside * pairs,
        "rows of strips": out_h * strips,
        "pairs of rows": out_h * strips * (kh // 2),
        "single rows": out_h * strips * (kh % 2),
        "columns of pairs": out_h * inside * (kh // 2),
        "columns of single rows": out_h * inside * (kh % 2),
        "windows": out_h * out_w,
        "pairs of taps": out_h * out_w * kw * pairs,
        "turns of two pairs": out_h * out_w * -(-kw * pairs // 2),
    }
    return {name: float(groups * count) for name, count in terms.items()}


def _rectangle_terms(shape: Sequence[int]) -> Terms:
    """Return the work terms of the loops of ``rectangles.h``: over rectangles of outputs, and blocks of 16 channels.

    All windows of a rectangle have the same taps inside the map. The last block may overlap the block before it, but a
    map of fewer than 16 channels has a loop of its own. Windows of 3 x 3 taps also have a loop of their own. In all
    other windows, taps are added in pairs along a row; a single column of taps counts as a row.
    """
    channels = shape[2]
    blocks, few = -(-channels // BLOCK), channels < BLOCK
    down, right = _spans(shape, 0), _spans(shape, 1)
    taps = nine = others = rows_of_others = pairs = ends = 0
    for (height, rows), (width, columns) in product(down, right):
        rows, columns = (1, rows) if columns == 1 else (rows, columns)
        taps += rows * columns
        if rows == columns == 3:
            nine += height * width
            continue
        others += height * width
        rows_of_others += height * width * rows
        pairs += height * width * rows * (columns // 2)
        ends += height * width * rows * (columns % 2)
    out_h, out_w = output_size(shape)
    rectangles, whole_blocks = len(down) * len(right), 0 if few else blocks
    return {
        "outputs looked at": float(out_h + len(down) * out_w),
        "rectangles": float(rectangles),
        "blocks of rectangles": float(rectangles * blocks),
        "taps of rectangles": float(taps * blocks),
        "lines of rectangles": float(out_h * len(right) * blocks),
        "windows of 3 x 3": float(nine * whole_blocks),
        "other windows": float(others * whole_blocks),
        "rows of other windows": float(rows_of_others * whole_blocks),
        "pairs along rows": float(pairs * whole_blocks),
        "ends of rows": float(ends * whole_blocks),
        "windows of few channels": float(out_h * out_w) if few else 0.0,
        "taps of few channels": window_taps(shape)[0] if few else 0.0,
    }


def _spans(shape: Sequence[int], axis: int) -> list[tuple[int, int]]:
    """Return the runs of neighbouring outputs along an axis whose windows have the same taps inside the map.

    A run is the number of its outputs, and the number of taps inside.
    """
    return [(len(list(outputs)), sum(taps)) for taps, outputs in groupby(taps_inside(shape, axis))]
