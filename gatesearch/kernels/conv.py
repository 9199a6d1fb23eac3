"""Convolution in float and in int8, of all channels or of those blocks of 16 that are active."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ctypes import byref
from typing import Any, ClassVar

import numpy as np
import torch

from gatesearch.gates import BLOCK, KernelCall
from gatesearch.kernels import native
from gatesearch.kernels.arrays import (
    Array,
    active_blocks,
    address,
    aligned,
    block_count,
    channel_mask,
    checked,
    like,
    padded,
)
from gatesearch.kernels.base import CountedKernel, Listing
from gatesearch.kernels.geometry import Geometry
from gatesearch.kernels.library import ADDRESS, INT, SHAPE, SIZE, SOURCES, Library, Signatures, bind_call
from gatesearch.kernels.work_terms import Terms, conv_macs, conv_terms

SUMS, BYTES, FLOATS = range(3)  # as in kernels.h
OUTPUT_KINDS = {"sums": (SUMS, np.int32), "bytes": (BYTES, np.uint8), "floats": (FLOATS, np.float32)}


class Conv:
    """y = act(scale * conv(x) + shift) in float32, x [h, w, c_in] to y [h', w', c_out].

    Args:
        geometry: of the layer.
        weight: float32 [c_out, c_in, kh, kw].
        scale: float32 [c_out]; None is 1.
        shift: float32 [c_out]; None is 0.
        relu: whether what is negative becomes 0.
        library: None is the best for this CPU.

    >>> conv = Conv(Geometry((4, 4), 2, 3), np.ones((3, 2, 1, 1), np.float32))
    >>> conv(np.ones((4, 4, 2), np.float32))[0, 0].tolist()
    [2.0, 2.0, 2.0]
    """

    def __init__(
        self,
        geometry: Geometry,
        weight: Any,
        scale: Any = None,
        shift: Any = None,
        relu: bool = False,
        library: Library | None = None,
    ) -> None:
        self.geometry, self.relu = geometry, relu
        self.weight = checked(weight, "weight", np.float32, geometry.weights)
        self.scale = padded(scale, "scale", np.float32, geometry.c_out, 1)
        self.shift = padded(shift, "shift", np.float32, geometry.c_out, 0)
        self.library = library or native.load()
        if self.library:
            self._shape = geometry.c
            self._packed = aligned(self.library.function("conv_f32_size")(byref(self._shape)), np.float32)
            self.library.function("conv_f32_pack")(byref(self._shape), address(self.weight), address(self._packed))
            self._scratch = aligned(self.library.function("conv_f32_scratch")(byref(self._shape)), np.uint8)

    def __call__(self, x: Any, inputs: Any = None, outputs: Any = None) -> Any:
        """Convolve.

        Args:
            x: float32 [h, w, c_in], an array or a tensor.
            inputs: ascending indices of the input blocks that are active, the others being read as 0; None is all.
            outputs: those of the output blocks to compute, the others being 0; None is all.
        """
        image = checked(x, "x", np.float32, (*self.geometry.image, self.geometry.c_in))
        y = np.zeros((*self.geometry.output, self.geometry.c_out), np.float32)
        self.bind(image, y, inputs, outputs)()
        return like(x, y)

    def bind(self, x: Array, y: Array, inputs: Any = None, outputs: Any = None) -> Callable[[], None]:
        """Return the call for arrays that stay where they are; inactive output blocks are left as they are."""
        g = self.geometry
        checked(x, "x", np.float32, (*g.image, g.c_in))
        checked(y, "y", np.float32, (*g.output, g.c_out))
        read, written = active_blocks(inputs, "inputs", g.c_in), active_blocks(outputs, "outputs", g.c_out)
        if not self.library:
            mask = channel_mask(written, g.c_out)
            return lambda: np.copyto(y, self.reference(x, read, written), where=mask)
        arguments = (
            byref(self._shape),
            address(x),
            address(read),
            block_count(read),
            address(self._packed),
            address(written),
            block_count(written),
            address(self.scale),
            address(self.shift),
            int(self.relu),
            address(y),
            address(self._scratch),
        )
        return bind_call(self.library.function("conv_f32"), arguments, x, y, read, written, self)

    def reference(self, x: Array, inputs: Array | None = None, outputs: Array | None = None) -> Array:
        """Compute the same with torch, everything and then masked."""
        g = self.geometry
        image = torch.from_numpy(np.where(channel_mask(inputs, g.c_in), x, 0))
        y = g.convolve(image, torch.from_numpy(self.weight)).numpy() * self.scale[: g.c_out] + self.shift[: g.c_out]
        y = np.where(channel_mask(outputs, g.c_out), y, 0)
        return np.maximum(y, 0) if self.relu else y


class ConvU8:
    """Convolution of uint8 activations with int8 weights, summed in int32; x [h, w, c_in] to y [h', w', c_out].

    s = conv(x - zero) + bias, and by kind y is s (``"sums"``, int32), scale s + shift (``"floats"``) or that rounded
    half to even, plus ``zero_out`` and clipped to 0 .. 255 (``"bytes"``, uint8).

    Args:
        geometry: of the layer.
        weight: int8 [c_out, c_in, kh, kw].
        kind: of the output.
        zero: the x that stands for 0.
        bias: int32 [c_out]; None is 0.
        scale: float32 [c_out]; None is 1.
        shift: float32 [c_out]; None is 0.
        zero_out: the y that stands for 0; at 0 a ReLU is in the clipping.
        library: None is the best for this CPU.
    """

    def __init__(
        self,
        geometry: Geometry,
        weight: Any,
        kind: str = "sums",
        zero: int = 0,
        bias: Any = None,
        scale: Any = None,
        shift: Any = None,
        zero_out: int = 0,
        library: Library | None = None,
    ) -> None:
        for what, value in (("zero", zero), ("zero_out", zero_out)):
            if not 0 <= value <= 255:
                raise ValueError(f"{what} is {value}, not from 0 to 255")
        self.geometry, self.zero, self.zero_out = geometry, zero, zero_out
        self.kind, self.dtype = OUTPUT_KINDS[kind]
        self.weight = checked(weight, "weight", np.int8, geometry.weights)
        self.bias = padded(bias, "bias", np.int32, geometry.c_out, 0)
        self.scale = padded(scale, "scale", np.float32, geometry.c_out, 1)
        self.shift = padded(shift, "shift", np.float32, geometry.c_out, 0)
        self.library = library or native.load()
        if self.library:
            self._shape = geometry.c
            self._packed, self._sums = pack_u8(self.library, geometry, self.weight)
            self._scratch = aligned(self.library.function("conv_u8_scratch")(byref(self._shape)), np.uint8)

    def __call__(self, x: Any, inputs: Any = None, outputs: Any = None) -> Any:
        """Convolve uint8 [h, w, c_in]; ``inputs`` and ``outputs`` as in :meth:`Conv.__call__`."""
        image = checked(x, "x", np.uint8, (*self.geometry.image, self.geometry.c_in))
        y = np.zeros((*self.geometry.output, self.geometry.c_out), self.dtype)
        self.bind(image, y, inputs, outputs)()
        return like(x, y)

    def bind(self, x: Array, y: Array, inputs: Any = None, outputs: Any = None) -> Callable[[], None]:
        """Return the call for arrays that stay where they are; inactive output blocks are left as they are."""
        g = self.geometry
        checked(x, "x", np.uint8, (*g.image, g.c_in))
        checked(y, "y", self.dtype, (*g.output, g.c_out))
        read, written = active_blocks(inputs, "inputs", g.c_in), active_blocks(outputs, "outputs", g.c_out)
        if not self.library:
            mask = channel_mask(written, g.c_out)
            return lambda: np.copyto(y, self.reference(x, read, written), where=mask)
        arguments = (
            byref(self._shape),
            address(x),
            self.zero,
            address(read),
            block_count(read),
            address(self._packed),
            address(self._sums),
            address(written),
            block_count(written),
            address(self.bias),
            address(self.scale),
            address(self.shift),
            self.kind,
            self.zero_out,
            address(y),
            address(self._scratch),
        )
        return bind_call(self.library.function("conv_u8"), arguments, x, y, read, written, self)

    def reference(self, x: Array, inputs: Array | None = None, outputs: Array | None = None) -> Array:
        """Compute the same with torch and numpy, everything and then masked."""
        g = self.geometry
        centred = np.where(channel_mask(inputs, g.c_in), x.astype(np.float64) - self.zero, 0)
        sums = convolve_integers(g, centred, self.weight) + self.bias[: g.c_out]
        y = requantise(sums, self.scale[: g.c_out], self.shift[: g.c_out], self.kind, self.zero_out)
        return np.where(channel_mask(outputs, g.c_out), y, 0).astype(self.dtype)


def pack_u8(library: Library, geometry: Geometry, weight: Array) -> tuple[Array, Array]:
    """Return int8 weights as the kernels want them, and their sums by block."""
    shape = geometry.c
    packed = aligned(library.function("conv_u8_size")(byref(shape)), np.int8)
    sums = aligned((-(-geometry.c_out // BLOCK), -(-geometry.c_in // BLOCK), BLOCK), np.int32)
    library.function("conv_u8_pack")(byref(shape), address(weight), address(packed), address(sums))
    return packed, sums


def convolve_integers(geometry: Geometry, x: Array, weight: Array) -> Array:
    """Convolve whole numbers, [h, w, c_in] with [c_out, c_in, kh, kw]; float64 holds their sums exactly."""
    image, filters = torch.from_numpy(x.astype(np.float64)), torch.from_numpy(weight.astype(np.float64))
    return geometry.convolve(image, filters).numpy().round().astype(np.int64)


def requantise(sums: Array, scale: Array, shift: Array, kind: int, zero_out: int) -> Array:
    """Return the output of sums [..., c_out], by kind; each step is rounded to float32 as the kernels round it."""
    if kind == SUMS:
        return sums
    real = sums.astype(np.float32) * scale + shift
    return real if kind == FLOATS else np.rint(real.clip(-zero_out, 255 - zero_out)) + zero_out


class ConvKernel(CountedKernel):
    """Convolutions and matrix products; tables of boards read the one in int8."""

    name = "conv"
    source = SOURCES / "conv_u8.c"
    rank = 1
    runner = "conv"
    case = 1
    shares = ("inputs", "outputs")
    listings = ("convolution", "gated")
    signatures: ClassVar[Signatures] = {
        "conv_f32_size": (SIZE, (SHAPE,)),
        "conv_f32_pack": (None, (SHAPE, ADDRESS, ADDRESS)),
        "conv_f32_scratch": (SIZE, (SHAPE,)),
        "conv_f32": (
            None,
            (
                SHAPE,
                *(ADDRESS, ADDRESS, INT, ADDRESS),  # x, active inputs, weights
                *(ADDRESS, INT, ADDRESS, ADDRESS, INT),  # active outputs, scale, shift, whether a ReLU follows
                *(ADDRESS, ADDRESS),  # y, scratch
            ),
        ),
        "conv_u8_size": (SIZE, (SHAPE,)),
        "conv_u8_pack": (None, (SHAPE, ADDRESS, ADDRESS, ADDRESS)),
        "conv_u8_scratch": (SIZE, (SHAPE,)),
        "conv_u8": (
            None,
            (
                SHAPE,
                *(ADDRESS, INT, ADDRESS, INT, ADDRESS, ADDRESS),  # x, its zero, active inputs, weights, their sums
                *(ADDRESS, INT, ADDRESS, ADDRESS, ADDRESS),  # active outputs, bias, scale, shift
                *(INT, INT, ADDRESS, ADDRESS),  # kind of output, its zero, y, scratch
            ),
        ),
    }

    def listed(self, listing: Listing) -> Iterator[KernelCall]:
        """Yield a call for each pair of shares."""
        for inputs, outputs in listing.pairs:
            yield KernelCall(self.name, listing.shape, (), (("inputs", inputs), ("outputs", outputs)))

    def macs(self, call: KernelCall) -> float:
        """Return those of a dense convolution."""
        return conv_macs(call.shape)

    def work(self, call: KernelCall, tile: int) -> Terms:
        """Return the terms of a convolution of the blocks that are there."""
        return conv_terms(call.shape, tile, **dict(call.left))
