"""Convolution in float32 and in int8, of all channels or only of the active blocks of 16."""

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
    aligned_zeros,
    block_count,
    channel_mask,
    check_array,
    match_type,
    pad_to_blocks,
)
from gatesearch.kernels.base import CountedKernel, Listing
from gatesearch.kernels.geometry import Geometry
from gatesearch.kernels.library import ADDRESS, INT, SHAPE, SIZE, SOURCES, Library, Signatures, bind_call
from gatesearch.kernels.work_terms import Terms, byte_conv_terms, conv_macs, conv_terms, pair_terms

SUMS, BYTES, FLOATS = range(3)  # kinds of output, as in kernels.h
OUTPUT_KINDS = {"sums": (SUMS, np.int32), "bytes": (BYTES, np.uint8), "floats": (FLOATS, np.float32)}


class Conv:
    """A float32 convolution, x [h, w, c_in] to y [h', w', c_out]: y = scale * conv(x) + shift, and a ReLU if ``relu``.

    Args:
        geometry: the geometry of the layer.
        weight: float32 [c_out, c_in, kh, kw].
        scale: float32 [c_out]; None means 1.
        shift: float32 [c_out]; None means 0.
        relu: whether negative outputs become 0.
        library: the compiled kernels; None loads the best ones for this CPU.

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
        self.weight = check_array(weight, "weight", np.float32, geometry.weights)
        self.scale = pad_to_blocks(scale, "scale", np.float32, geometry.c_out, 1)
        self.shift = pad_to_blocks(shift, "shift", np.float32, geometry.c_out, 0)
        self.library = library or native.load()
        if self.library:
            self._shape = geometry.c
            self._packed = aligned_zeros(self.library.function("conv_f32_size")(byref(self._shape)), np.float32)
            self.library.function("conv_f32_pack")(byref(self._shape), address(self.weight), address(self._packed))
            self._scratch = aligned_zeros(self.library.function("conv_f32_scratch")(byref(self._shape)), np.uint8)

    def __call__(self, x: Any, inputs: Any = None, outputs: Any = None) -> Any:
        """Return y, as a tensor if x is a tensor, else as an array.

        Args:
            x: float32 [h, w, c_in], an array or a tensor.
            inputs: ascending indices of the active input blocks; all other blocks count as 0. None means all.
            outputs: ascending indices of the output blocks to compute; all other blocks are 0. None means all.
        """
        image = check_array(x, "x", np.float32, (*self.geometry.image, self.geometry.c_in))
        y = np.zeros((*self.geometry.output, self.geometry.c_out), np.float32)
        self.bind(image, y, inputs, outputs)()
        return match_type(x, y)

    def bind(self, x: Array, y: Array, inputs: Any = None, outputs: Any = None) -> Callable[[], None]:
        """Return a function that runs the kernel on arrays at fixed addresses.

        Inactive output blocks of y keep their values.
        """
        g = self.geometry
        check_array(x, "x", np.float32, (*g.image, g.c_in))
        check_array(y, "y", np.float32, (*g.output, g.c_out))
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
        """Return y, computed in torch; inactive output blocks are zero."""
        g = self.geometry
        image = torch.from_numpy(np.where(channel_mask(inputs, g.c_in), x, 0))
        y = g.convolve(image, torch.from_numpy(self.weight)).numpy() * self.scale[: g.c_out] + self.shift[: g.c_out]
        y = np.where(channel_mask(outputs, g.c_out), y, 0)
        return np.maximum(y, 0) if self.relu else y


class ConvU8:
    """A convolution of uint8 activations with int8 weights and int32 sums; x [h, w, c_in] to y [h', w', c_out].

    With s = conv(x - zero) + bias, ``kind`` selects the output y:

    * ``"sums"``: y = s, int32.
    * ``"floats"``: y = scale s + shift, float32.
    * ``"bytes"``: y = clip(round(scale s + shift) + zero_out, 0, 255), uint8; halves are rounded to even.

    Args:
        geometry: the geometry of the layer.
        weight: int8 [c_out, c_in, kh, kw].
        kind: the kind of the output.
        zero: the value of x that represents 0.
        bias: int32 [c_out]; None means 0.
        scale: float32 [c_out]; None means 1.
        shift: float32 [c_out]; None means 0.
        zero_out: the value of y that represents 0. Where it is 0, the clipping is also a ReLU.
        library: the compiled kernels; None loads the best ones for this CPU.
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
        self.weight = check_array(weight, "weight", np.int8, geometry.weights)
        self.bias = pad_to_blocks(bias, "bias", np.int32, geometry.c_out, 0)
        self.scale = pad_to_blocks(scale, "scale", np.float32, geometry.c_out, 1)
        self.shift = pad_to_blocks(shift, "shift", np.float32, geometry.c_out, 0)
        self.library = library or native.load()
        if self.library:
            self._shape = geometry.c
            self._packed, self._sums = pack_u8(self.library, geometry, self.weight)
            self._scratch = aligned_zeros(self.library.function("conv_u8_scratch")(byref(self._shape)), np.uint8)

    def __call__(self, x: Any, inputs: Any = None, outputs: Any = None) -> Any:
        """Return y for x, uint8 [h, w, c_in]; see :meth:`Conv.__call__` for ``inputs`` and ``outputs``."""
        image = check_array(x, "x", np.uint8, (*self.geometry.image, self.geometry.c_in))
        y = np.zeros((*self.geometry.output, self.geometry.c_out), self.dtype)
        self.bind(image, y, inputs, outputs)()
        return match_type(x, y)

    def bind(self, x: Array, y: Array, inputs: Any = None, outputs: Any = None) -> Callable[[], None]:
        """Return a function that runs the kernel on arrays at fixed addresses.

        Inactive output blocks of y keep their values.
        """
        g = self.geometry
        check_array(x, "x", np.uint8, (*g.image, g.c_in))
        check_array(y, "y", self.dtype, (*g.output, g.c_out))
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
        """Return y, computed in torch and numpy; inactive output blocks are zero."""
        g = self.geometry
        centred = np.where(channel_mask(inputs, g.c_in), x.astype(np.float64) - self.zero, 0)
        sums = convolve_integers(g, centred, self.weight) + self.bias[: g.c_out]
        y = requantise(sums, self.scale[: g.c_out], self.shift[: g.c_out], self.kind, self.zero_out)
        return np.where(channel_mask(outputs, g.c_out), y, 0).astype(self.dtype)


def pack_u8(library: Library, geometry: Geometry, weight: Array) -> tuple[Array, Array]:
    """Return int8 weights packed for the kernels, and their sums over blocks of inputs [blocks_out, blocks_in, 16].

    The instruction set decides which offset the kernel subtracts from x before it multiplies: 0 or 128. The kernel then
    corrects for the zero of x: conv(x - zero) = conv(x - offset) + (offset - zero) sum(w). The sum of the weights w
    covers only the active input blocks, so sums are stored by block.
    """
    shape = geometry.c
    packed = aligned_zeros(library.function("conv_u8_size")(byref(shape)), np.int8)
    sums = aligned_zeros((-(-geometry.c_out // BLOCK), -(-geometry.c_in // BLOCK), BLOCK), np.int32)
    library.function("conv_u8_pack")(byref(shape), address(weight), address(packed), address(sums))
    return packed, sums


def convolve_integers(geometry: Geometry, x: Array, weight: Array) -> Array:
    """Return the convolution of whole numbers, x [h, w, c_in] and weight [c_out, c_in, kh, kw], exact in float64."""
    image, filters = torch.from_numpy(x.astype(np.float64)), torch.from_numpy(weight.astype(np.float64))
    return geometry.convolve(image, filters).numpy().round().astype(np.int64)


def requantise(sums: Array, scale: Array, shift: Array, kind: int, zero_out: int) -> Array:
    """Return an output of the chosen kind from sums [..., c_out]; each operation rounds to float32, as the kernels do.

    Args:
        sums: whole numbers, in units of the quantisation step of x times that of a weight.
        scale: number of steps of y in one unit of the sums, float32 [c_out].
        shift: number that is added to scale x sums, in steps of y, float32 [c_out].
        kind: SUMS, FLOATS or BYTES.
        zero_out: the value of y that represents 0.
    """
    if kind == SUMS:
        return sums
    real = sums.astype(np.float32) * scale + shift
    return real if kind == FLOATS else np.rint(real.clip(-zero_out, 255 - zero_out)) + zero_out


class ConvKernel(CountedKernel):
    """Convolutions and matrix products in float32 and int8; a board's kernel table has readings of int8 alone."""

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
                ADDRESS,  # x
                ADDRESS,  # active input blocks
                INT,  # number of active input blocks
                ADDRESS,  # weights
                ADDRESS,  # active output blocks
                INT,  # number of active output blocks
                ADDRESS,  # scale
                ADDRESS,  # shift
                INT,  # whether a ReLU follows
                ADDRESS,  # y
                ADDRESS,  # scratch
            ),
        ),
        "conv_u8_size": (SIZE, (SHAPE,)),
        "conv_u8_pack": (None, (SHAPE, ADDRESS, ADDRESS, ADDRESS)),
        "conv_u8_scratch": (SIZE, (SHAPE,)),
        "conv_u8": (
            None,
            (
                SHAPE,
                ADDRESS,  # x
                INT,  # zero of x
                ADDRESS,  # active input blocks
                INT,  # number of active input blocks
                ADDRESS,  # weights
                ADDRESS,  # sums of weights
                ADDRESS,  # active output blocks
                INT,  # number of active output blocks
                ADDRESS,  # bias
                ADDRESS,  # scale
                ADDRESS,  # shift
                INT,  # kind of output
                INT,  # zero of y
                ADDRESS,  # y
                ADDRESS,  # scratch
            ),
        ),
    }

    def table_calls(self, listing: Listing) -> Iterator[KernelCall]:
        """Yield a call for each pair of shares."""
        for inputs, outputs in listing.pairs:
            yield KernelCall(self.name, listing.shape, (), (("inputs", inputs), ("outputs", outputs)))

    def macs(self, call: KernelCall) -> float:
        """Return the multiply-accumulates of the dense convolution."""
        return conv_macs(call.shape)

    def work(self, call: KernelCall, tile: int) -> Terms:
        """Return the work terms of a convolution of the active blocks."""
        shares = dict(call.remaining)
        return {
            **conv_terms(call.shape, tile, **shares),
            **pair_terms(call.shape, tile, **shares),
            **byte_conv_terms(call.shape, **shares),
        }
