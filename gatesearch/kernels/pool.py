"""Pooling of uint8 feature maps over windows: the mean or the largest value of each channel."""

from __future__ import annotations

from collections.abc import Iterator
from ctypes import byref
from typing import Any, ClassVar

import numpy as np

from gatesearch.gates import BLOCK, KernelCall
from gatesearch.kernels import native
from gatesearch.kernels.arrays import Array, address, check_array
from gatesearch.kernels.base import CountedKernel, Listing
from gatesearch.kernels.geometry import Geometry, output_size
from gatesearch.kernels.library import ADDRESS, INT, SHAPE, SOURCES, Library, Signatures
from gatesearch.kernels.work_terms import Terms, window_taps


def pool_windows(x: Any, geometry: Geometry, largest: bool = False, library: Library | None = None) -> Array:
    """Return the mean (rounded half up) or the largest value of each window, uint8 [h', w', channels].

    Only the part of a window that lies inside the image counts.

    Args:
        x: uint8 [h, w, channels].
        geometry: the geometry of the windows; its output channels are ignored.
        largest: whether to return the largest value instead of the mean.
        library: the compiled kernels; None loads the best ones for this CPU.

    Raises:
        ValueError: a window lies outside the image.
    """
    image = check_array(x, "x", np.uint8, (*geometry.image, geometry.c_in))
    if any(pad >= size for pad, size in zip(geometry.padding, geometry.kernel, strict=True)):
        raise ValueError(f"padding {geometry.padding} leaves windows of {geometry.kernel} outside")
    library = library or native.load()
    if library is None:
        return _pool_reference(image, geometry, largest)
    y = np.empty((*geometry.output, geometry.c_in), np.uint8)
    library.function("pool_window_u8")(byref(geometry.c), address(image), int(largest), address(y))
    return y


def _pool_reference(image: Array, geometry: Geometry, largest: bool) -> Array:
    y = np.empty((*geometry.output, geometry.c_in), np.uint8)
    (stride_h, stride_w), (kh, kw), (pad_h, pad_w) = geometry.stride, geometry.kernel, geometry.padding
    for row, column in np.ndindex(*geometry.output):
        y0, x0 = row * stride_h - pad_h, column * stride_w - pad_w
        window = image[max(y0, 0) : y0 + kh, max(x0, 0) : x0 + kw].astype(np.int64)
        count = window.shape[0] * window.shape[1]
        y[row, column] = window.max((0, 1)) if largest else (window.sum((0, 1)) + count // 2) // count
    return y


class _PoolKernel(CountedKernel):
    """The base class of mean and maximum pooling, which share a C function."""

    source = SOURCES / "pool.c"
    runner = "pool"
    case = 6
    listings = ("pool",)
    signatures: ClassVar[Signatures] = {"pool_window_u8": (None, (SHAPE, ADDRESS, INT, ADDRESS))}

    def table_calls(self, listing: Listing) -> Iterator[KernelCall]:
        """Yield the one call of the listing's shape."""
        yield KernelCall(self.name, listing.shape)

    def macs(self, call: KernelCall) -> float:
        """Return 0: pooling has no multiply-accumulates."""
        return 0.0

    def work(self, call: KernelCall, tile: int) -> Terms:
        """Return work terms by pixel, block and tap inside the image; the C code loops as depthwise.c does."""
        channels = call.shape[2]
        out_h, out_w = output_size(call.shape)
        pixels, rest, full = float(out_h * out_w), channels % BLOCK, channels // BLOCK
        taps, rows = window_taps(call.shape)
        ragged = 1.0 if rest else 0.0
        return {
            "call": 1.0,
            "pixels": pixels,
            "full blocks": pixels * full,
            "taps of full blocks": taps * full,
            "rows of taps": rows * (full + ragged),
            "ragged blocks": pixels * ragged,
            "taps of ragged blocks": taps * ragged,
            "single channels": pixels * rest,
            "taps of fours of channels": taps * (rest // 4),
            "taps of channels behind fours": taps * (rest % 4),
            "fours of channels": pixels * -(-channels // 4),
            "rows of fours": rows * -(-channels // 4),
            "taps of fours": taps * -(-channels // 4),
        }


class AverageKernel(_PoolKernel):
    """The mean of each window."""

    name = "average"
    rank = 12


class LargestKernel(_PoolKernel):
    """The largest value of each window."""

    name = "largest"
    rank = 13
