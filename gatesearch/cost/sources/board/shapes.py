"""The kernel calls that every kernel table measures, and held-out calls that show a table's error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product

from gatesearch.gates import KernelCall
from gatesearch.kernels import counted_kernels
from gatesearch.kernels.base import CountedKernel, Listing

EMPTY_CALL = KernelCall("nothing", (0,))  # a call that does nothing, to measure the time of reading the clock

# Shapes of layers of the shipped backbones, with all channels or with the channels that gates leave active. A shape is:
# height, width, input channels, output channels, height and width of the kernel, stride. Names with OTHER_ hold the
# held-out shapes.
# fmt: off
CONVOLUTIONS = (
    (49, 10, 1, 64, 10, 4, 2), (49, 10, 1, 16, 10, 4, 2), (25, 5, 64, 64, 1, 1, 1), (25, 5, 32, 64, 1, 1, 1),
    (25, 5, 64, 16, 1, 1, 1), (25, 5, 16, 16, 1, 1, 1), (32, 32, 3, 64, 3, 3, 1), (16, 16, 64, 128, 3, 3, 1),
    (8, 8, 128, 192, 3, 3, 1), (8, 8, 192, 192, 3, 3, 1), (32, 32, 16, 16, 3, 3, 1), (32, 32, 16, 32, 3, 3, 2),
    (16, 16, 32, 32, 3, 3, 1), (16, 16, 32, 64, 3, 3, 2), (8, 8, 64, 64, 3, 3, 1), (8, 8, 1, 32, 3, 3, 1),
    (4, 4, 64, 64, 3, 3, 1), (1, 1, 64, 12, 1, 1, 1), (1, 1, 192, 10, 1, 1, 1), (1, 1, 256, 64, 1, 1, 1),
    (12, 12, 24, 48, 1, 1, 1), (16, 8, 40, 20, 1, 1, 1), (24, 24, 1, 16, 5, 5, 2), (14, 14, 3, 24, 3, 3, 1),
    (1, 1, 30, 20, 1, 1, 1), (9, 9, 20, 40, 3, 3, 1), (49, 10, 1, 28, 8, 5, 2), (1, 1, 118, 12, 1, 1, 1),
    (50, 1, 64, 192, 1, 1, 1), (99, 1, 64, 256, 1, 1, 1), (99, 1, 256, 64, 1, 1, 1), (1, 1, 20, 1, 1, 1, 1),
)
OTHER_CONVOLUTIONS = (
    (12, 12, 48, 96, 3, 3, 1), (18, 10, 56, 40, 1, 1, 1), (14, 14, 32, 64, 5, 5, 1), (7, 7, 96, 128, 3, 3, 2),
    (16, 16, 28, 36, 3, 3, 1), (1, 1, 90, 40, 1, 1, 1), (28, 7, 1, 40, 9, 3, 2), (20, 20, 3, 20, 3, 3, 2),
    (10, 10, 64, 80, 1, 1, 1), (64, 1, 128, 128, 1, 1, 1), (6, 6, 160, 96, 3, 3, 1), (1, 1, 500, 96, 1, 1, 1),
)
GATED = (
    (16, 16, 64, 128, 3, 3, 1), (8, 8, 128, 128, 3, 3, 1), (8, 8, 32, 64, 3, 3, 1),
    (25, 5, 64, 64, 1, 1, 1), (9, 9, 32, 48, 1, 1, 1),
)
OTHER_GATED = ((12, 12, 48, 96, 3, 3, 1), (7, 11, 64, 112, 1, 1, 1))
DEPTHWISE = (
    (25, 5, 64, 64, 3, 3, 1), (25, 5, 32, 32, 3, 3, 1), (25, 5, 16, 16, 3, 3, 1), (25, 5, 276, 276, 3, 3, 1),
    (25, 5, 24, 24, 3, 3, 1), (13, 3, 64, 64, 3, 3, 1), (16, 16, 32, 32, 5, 5, 1), (16, 16, 64, 64, 3, 3, 2),
    (12, 12, 56, 56, 5, 5, 1), (20, 20, 8, 8, 3, 3, 1), (7, 7, 90, 90, 3, 3, 1), (14, 10, 20, 20, 5, 5, 2),
    (6, 6, 160, 160, 3, 3, 1), (30, 10, 40, 40, 3, 3, 2), (10, 10, 13, 13, 5, 5, 1), (18, 18, 72, 72, 3, 3, 1),
)
OTHER_DEPTHWISE = ((20, 8, 48, 48, 3, 3, 1), (9, 9, 40, 40, 5, 5, 1), (24, 10, 128, 128, 3, 3, 2))
POOLS = (
    (25, 5, 64, 64, 25, 5, 1), (8, 8, 64, 64, 2, 2, 2), (16, 16, 24, 24, 2, 2, 2), (8, 8, 192, 192, 8, 8, 1),
    (12, 12, 32, 32, 3, 3, 1), (30, 30, 16, 16, 2, 2, 2), (4, 4, 48, 48, 4, 4, 1), (25, 5, 20, 20, 25, 5, 1),
    (12, 12, 56, 56, 3, 3, 1), (9, 9, 7, 7, 3, 3, 1), (10, 6, 90, 90, 10, 6, 1), (6, 6, 13, 13, 2, 2, 2),
)
OTHER_POOLS = ((13, 9, 40, 40, 13, 9, 1), (14, 14, 48, 48, 2, 2, 2), (10, 10, 64, 64, 3, 3, 1))
# fmt: on
# Numbers of inputs and of units of recurrent layers.
CELLS = ((10, 64), (10, 118), (40, 128), (9, 32), (64, 256))
OTHER_CELLS = ((20, 96), (6, 180))
# Sizes of the two feature maps that a sum adds, in values of one map.
SUMS, OTHER_SUMS = (64, 500, 8000, 16384), (1250, 6272)
# Shapes of gates on the signal: samples of a hop, samples of a frame, frames of a window, bins of a spectrum.
LEVELS = ((640, 320, 50, 31), (160, 160, 100, 31), (1280, 320, 50, 31), (320, 64, 250, 31), (400, 200, 80, 31))
OTHER_LEVELS = ((960, 240, 66, 31), (512, 128, 125, 31))
# Sizes of mel front ends in fixed point: points of the transform; samples of a frame, from one frame to the next, and
# that a stream keeps between frames; bins; weights of all filters; filters; features.
MELS = (
    (512, 480, 320, 320, 128, 247, 40, 40),
    (512, 480, 320, 320, 128, 247, 40, 10),
    (1024, 640, 640, 0, 256, 493, 40, 10),
    (512, 480, 320, 320, 128, 240, 20, 20),
    (512, 480, 320, 160, 256, 484, 26, 13),
    (512, 480, 160, 320, 244, 477, 80, 80),
    (256, 256, 128, 128, 128, 245, 32, 32),
    (1024, 1024, 512, 512, 487, 936, 40, 20),
    (512, 400, 160, 240, 256, 499, 64, 64),
    (2048, 2048, 1024, 1024, 1024, 1997, 64, 64),
    (128, 128, 64, 64, 32, 59, 20, 12),
    (1024, 1024, 512, 512, 487, 936, 40, 40),
)
OTHER_MELS = (
    (512, 512, 256, 256, 192, 366, 32, 16),
    (1024, 640, 320, 320, 448, 868, 50, 50),
    (256, 240, 160, 80, 128, 241, 24, 8),
    (512, 320, 320, 0, 128, 244, 30, 30),
)
PAIRS = ((1.0, 0.5), (0.5, 1.0), (0.25, 0.5))  # active shares of inputs and of outputs
SHARES = (0.25, 0.5, 1.0)
LOW_RANK_SHARES = (0.25, 0.5)  # parameters of low-rank factors, as shares of the dense matrix's parameters


def table_calls() -> tuple[KernelCall, ...]:
    """Return the calls that a table measures, the empty call first."""
    listings = {
        "convolution": [Listing(padded_shape(*shape), pairs=((1.0, 1.0),)) for shape in CONVOLUTIONS],
        "gated": [Listing(padded_shape(*shape), PAIRS, SHARES) for shape in GATED],
        "depthwise": [Listing(padded_shape(*shape)) for shape in DEPTHWISE],
        "cell": [Listing(shape, shares=SHARES) for shape in CELLS],
        "gathered": _gathered(GATED, SHARES),
        "low rank": [Listing(shape, shares=LOW_RANK_SHARES) for shape in CELLS],
        "pool": [Listing(_pool_shape(*shape)) for shape in POOLS],
        "sum": [Listing((count,)) for count in SUMS],
        "level": [Listing(shape) for shape in LEVELS],
        "mel": [Listing(shape) for shape in MELS],
    }
    return (EMPTY_CALL, *_calls(listings))


def held_out_calls() -> tuple[KernelCall, ...]:
    """Return calls of other shapes and shares, whose readings show the error of a table's predictions."""
    listings = {
        "convolution": [Listing(padded_shape(*shape), pairs=((1.0, 1.0),)) for shape in OTHER_CONVOLUTIONS],
        "gated": [Listing(padded_shape(*shape), ((0.75, 0.75),), (0.75,)) for shape in OTHER_GATED],
        "depthwise": [Listing(padded_shape(*shape)) for shape in OTHER_DEPTHWISE],
        "cell": [Listing(shape, shares=(0.75,)) for shape in OTHER_CELLS],
        "gathered": _gathered(OTHER_GATED, (0.75,)),
        "low rank": [Listing(shape, shares=(1 / 3,)) for shape in OTHER_CELLS],
        "pool": [Listing(_pool_shape(*shape)) for shape in OTHER_POOLS],
        "sum": [Listing((count,)) for count in OTHER_SUMS],
        "level": [Listing(shape) for shape in OTHER_LEVELS],
        "mel": [Listing(shape) for shape in OTHER_MELS],
    }
    return tuple(_calls(listings))


def _calls(listings: Mapping[str, Sequence[Listing]]) -> Iterator[KernelCall]:
    """Yield the calls of all kernels; kernels of other packages come last, so that shipped rows keep their index."""
    shipped = [kernel for kernel in counted_kernels().values() if not kernel.is_outside]
    outside = [kernel for kernel in counted_kernels().values() if kernel.is_outside]
    for kernels, kind in product((shipped, outside), listings):
        yield from _calls_of_kind(kernels, kind, listings[kind])


def _calls_of_kind(kernels: Iterable[CountedKernel], kind: str, listings: Sequence[Listing]) -> Iterator[KernelCall]:
    readers = [kernel for kernel in kernels if kind in kernel.listings]
    for listing, kernel in product(listings, readers):
        yield from kernel.table_calls(listing)


def _gathered(shapes: Sequence[tuple[int, ...]], shares: Sequence[float]) -> list[Listing]:
    """Return a listing for each shape and pair of shares; the share of inputs is 1 or the middle one of ``shares``."""
    pairs = list(product(sorted({1.0, shares[len(shares) // 2]}), shares))
    return [Listing(padded_shape(*shape), (pair,)) for shape, pair in product(shapes, pairs)]


def padded_shape(h: int, w: int, c_in: int, c_out: int, kh: int, kw: int, stride: int) -> tuple[int, ...]:
    """Return the shape of a convolution whose padding keeps the size at stride 1.

    >>> padded_shape(8, 8, 16, 32, 3, 3, 1)
    (8, 8, 16, 32, 3, 3, 1, 1, 1, 1, 1, 1)
    """
    return (h, w, c_in, c_out, kh, kw, stride, stride, kh // 2, (kw - 1) // 2, 1, 1)


def _pool_shape(h: int, w: int, c_in: int, c_out: int, kh: int, kw: int, stride: int) -> tuple[int, ...]:
    """Return the shape of a pooling; windows at stride 1 that are smaller than the map are padded by one."""
    pad = 1 if stride == 1 and kh < h else 0
    return (h, w, c_in, c_out, kh, kw, stride, stride, pad, pad, 1, 1)
