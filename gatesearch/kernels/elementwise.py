"""Two small kernels: the head of a gate at a cut, and the sum of two uint8 feature maps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np

from gatesearch.gates import BLOCK, KernelCall
from gatesearch.kernels import native
from gatesearch.kernels.arrays import Array, address, check_array
from gatesearch.kernels.base import CountedKernel, Listing
from gatesearch.kernels.library import ADDRESS, FLOAT, INT, SOURCES, Library, Signatures
from gatesearch.kernels.work_terms import Terms, count_blocks


class GateHead:
    """The head of a gate at a cut: it computes a logit from a float32 feature map x [h, w, channels].

    logit = w_mean . mean(x) + w_max . max(x) + bias, where mean and maximum are over the pixels of each channel.

    Args:
        w_mean: weights of the means, float32 [channels].
        w_max: weights of the maxima, float32 [channels]; None leaves the maxima out.
        bias: added to the logit.
        library: the compiled kernels; None loads the best ones for this CPU.

    >>> head = GateHead(np.ones(2, np.float32), None, 0.5)
    >>> head(np.ones((3, 3, 2), np.float32))
    2.5
    """

    def __init__(self, w_mean: Any, w_max: Any, bias: float, library: Library | None = None) -> None:
        self.w_mean = check_array(w_mean, "w_mean", np.float32, (None,))
        self.channels = len(self.w_mean)
        self.w_max = None if w_max is None else check_array(w_max, "w_max", np.float32, (self.channels,))
        self.bias = bias
        self.library = library or native.load()
        self._pooled = np.empty(2 * self.channels, np.float32)

    def __call__(self, x: Any) -> float:
        """Return the logit of x [h, w, channels]."""
        return self.bind(check_array(x, "x", np.float32, (None, None, self.channels)))()

    def bind(self, x: Array) -> Callable[[], float]:
        """Return a function that runs the kernel on an array at a fixed address."""
        if not self.library:
            return lambda: self.reference(x)
        function, pixels = self.library.function("gate_f32"), x.shape[0] * x.shape[1]
        image, mean, most, pooled = (address(array) for array in (x, self.w_mean, self.w_max, self._pooled))

        def call(_owners: tuple[Any, ...] = (x, self)) -> float:
            return float(function(image, pixels, self.channels, mean, most, self.bias, pooled))

        return call

    def reference(self, x: Array) -> float:
        """Return the logit, computed in numpy."""
        logit = self.w_mean @ x.mean((0, 1)) + self.bias
        return float(logit if self.w_max is None else logit + self.w_max @ x.max((0, 1)))


class GateHeadKernel(CountedKernel):
    """The head of a gate at a cut: pooling and a linear layer, in float."""

    name = "gate"
    source = SOURCES / "head.c"
    rank = 6
    runner = "gate"
    case = 10
    listings = ("gated",)
    signatures: ClassVar[Signatures] = {"gate_f32": (FLOAT, (ADDRESS, INT, INT, ADDRESS, ADDRESS, FLOAT, ADDRESS))}

    def table_calls(self, listing: Listing) -> Iterator[KernelCall]:
        """Yield the call of a head that reads the same feature map as a layer; its shape is height, width, channels."""
        yield KernelCall(self.name, listing.shape[:3])

    def macs(self, call: KernelCall) -> float:
        """Return one multiply-accumulate for each pooled value."""
        return float(math.prod(call.shape))

    def work(self, call: KernelCall, tile: int) -> Terms:
        """Return work terms by pixel and block."""
        h, w, channels = call.shape
        blocks = count_blocks(channels)
        return {
            "call": 1.0,
            "blocks pooled": h * w * blocks,
            "blocks": blocks,
            "single channels": float(h * w * (channels % BLOCK)),
        }

    def row_shape(self, call: KernelCall) -> tuple[int, ...]:
        """Return the shape of a 1 x 1 convolution over the same map, in the form of twelve numbers."""
        return (*call.shape, call.shape[2], *[1] * 8)


def add_u8(x: Any, z: Any, scales: tuple[float, float], shift: float = 0.0, library: Library | None = None) -> Array:
    """Return scales[0] x + scales[1] z + shift for uint8 x and z, clipped to 0 .. 255 and rounded (half to even)."""
    first = check_array(x, "x", np.uint8, np.shape(x))
    second = check_array(z, "z", np.uint8, first.shape)
    library = library or native.load()
    y = np.empty(first.shape, np.uint8)
    if library:
        library.function("sum_u8")(address(first), address(second), first.size, *scales, shift, address(y))
        return y
    a, b, c = (np.float32(value) for value in (*scales, shift))
    y[...] = np.rint((first.astype(np.float32) * a + second.astype(np.float32) * b + c).clip(0, 255))
    return y


class SumKernel(CountedKernel):
    """The sum of two uint8 feature maps."""

    name = "sum"
    source = SOURCES / "pool.c"
    rank = 14
    runner = "sum"
    case = 7
    listings = ("sum",)
    signatures: ClassVar[Signatures] = {"sum_u8": (None, (ADDRESS, ADDRESS, INT, FLOAT, FLOAT, FLOAT, ADDRESS))}

    def table_calls(self, listing: Listing) -> Iterator[KernelCall]:
        """Yield the one call of the listing's shape."""
        yield KernelCall(self.name, listing.shape)

    def macs(self, call: KernelCall) -> float:
        """Return 0: the sum of two maps has no multiply-accumulates."""
        return 0.0

    def work(self, call: KernelCall, tile: int) -> Terms:
        """Return one work term, which counts the summed values."""
        return {"call": 1.0, "values": float(call.shape[0])}
