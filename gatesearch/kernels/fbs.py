"""Kernels of feature boosting and suppression (FBS) that compute only winning blocks of 16 channels.

A predictor scores the output channels from the means of the input channels. The blocks with the largest scores win.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from ctypes import POINTER, byref
from itertools import product
from typing import Any, ClassVar

import numpy as np
import torch

from gatesearch.gates import BLOCK, KernelCall
from gatesearch.gates.fbs import FBSConv2d
from gatesearch.kernels.arrays import (
    Array,
    active_blocks,
    address,
    aligned_zeros,
    block_count,
    channel_mask,
    check_array,
)
from gatesearch.kernels.base import ActiveChannels, Axes, Calls, LayerKernel, Listing, Sample, random_normal
from gatesearch.kernels.boosted_layer import BoostedLayer
from gatesearch.kernels.conv import BYTES, Conv, ConvU8, convolve_integers, requantise
from gatesearch.kernels.fbs_predictor import Boost, CBoost, Decision, conv_weights, plain_conv, random_boost
from gatesearch.kernels.geometry import Geometry, Pair
from gatesearch.kernels.library import ADDRESS, FLOAT, INT, SHAPE, SIZE, SOURCES, Library, Signatures, bind_call
from gatesearch.kernels.work_terms import Terms, conv_macs, conv_terms, count_blocks, pair_terms


class _BoostedConv(ABC):
    """The base class of the float32 and the int8 kernel: calls, checks, and the reference that runs without C."""

    dtype: ClassVar[type[np.generic]]

    def __init__(self, geometry: Geometry, boost: Boost, library: Library | None) -> None:
        self.geometry, self.boost = geometry, boost
        self._decision = Decision(geometry, boost, (BLOCK,), library)
        self.library = self._decision.library
        if self.library:
            self._scratch = aligned_zeros(self.library.function("fbs_scratch")(byref(geometry.c)), np.uint8)

    def __call__(self, x: Any, inputs: Any = None) -> tuple[Array, Array]:
        """Return y [h', w', c_out] and the indices of the winning blocks, ascending; y is zero in the losing blocks.

        Args:
            x: input of type :attr:`dtype`, [h, w, c_in].
            inputs: ascending indices of the active blocks of x; None means all.
        """
        image = check_array(x, "x", self.dtype, (*self.geometry.image, self.geometry.c_in))
        y = np.zeros((*self.geometry.output, self.geometry.c_out), self.dtype)
        winners = np.zeros(self.boost.winners, np.int32)
        self.bind(image, y, winners, inputs)()
        return y, winners

    @abstractmethod
    def bind(self, x: Array, y: Array, winners: Array, active: Any = None) -> Callable[[], None]:
        """Return a function that runs the kernel on arrays at fixed addresses.

        The losing blocks of y keep their values.
        """

    @abstractmethod
    def reference(self, x: Array, active: Array | None = None) -> tuple[Array, Array]:
        """Return y and the winning blocks, computed in torch and numpy; y is zero in the losing blocks."""

    def _check(self, x: Array, y: Array, winners: Array, inputs: Any) -> Array | None:
        """Check the arrays that a call is bound to; return the active blocks of x."""
        g = self.geometry
        check_array(x, "x", self.dtype, (*g.image, g.c_in))
        check_array(y, "y", self.dtype, (*g.output, g.c_out))
        check_array(winners, "winners", np.int32, (self.boost.winners,))
        return active_blocks(inputs, "inputs", g.c_in)

    def _by_reference(self, x: Array, y: Array, winners: Array, inputs: Array | None) -> None:
        result, winners[:] = self.reference(x, inputs)
        np.copyto(y, result, where=channel_mask(winners, self.geometry.c_out))


class FBSConv(_BoostedConv):
    """An FBS layer in float32, with the ReLU behind it if ``relu``.

    Args:
        geometry: the geometry of the convolution.
        weight: float32 [c_out, c_in, kh, kw].
        boost: the predictor that picks the winners, and the normalisation.
        relu: whether negative outputs become 0.
        library: the compiled kernels; None loads the best ones for this CPU.
    """

    dtype = np.float32

    def __init__(
        self,
        geometry: Geometry,
        weight: Any,
        boost: Boost,
        relu: bool = True,
        library: Library | None = None,
    ) -> None:
        super().__init__(geometry, boost, library)
        self.relu, self.conv = relu, Conv(geometry, weight, library=library)
        self.weight = self.conv.weight

    @classmethod
    def from_module(cls, layer: FBSConv2d, image: Pair, relu: bool = True, library: Library | None = None) -> FBSConv:
        """Return the kernel of a trained layer for images of the given height and width.

        Raises:
            ValueError: the layer's channels do not win in blocks of 16, or its convolution is itself gated.
        """
        inner = plain_conv(layer)
        return cls(Geometry.from_layer(inner, image), conv_weights(inner), Boost.from_module(layer), relu, library)

    def bind(self, x: Array, y: Array, winners: Array, active: Any = None) -> Callable[[], None]:
        """Return a function that runs the kernel on arrays at fixed addresses.

        The losing blocks of y keep their values.
        """
        read = self._check(x, y, winners, active)
        if not self.library:
            return lambda: self._by_reference(x, y, winners, read)
        arguments = (
            byref(self.conv._shape),
            byref(self._decision.c),
            address(x),
            address(read),
            block_count(read),
            address(self.conv._packed),
            int(self.relu),
            address(y),
            address(winners),
            address(self._scratch),
        )
        return bind_call(self.library.function("fbs_f32"), arguments, x, y, winners, read, self)

    def reference(self, x: Array, active: Array | None = None) -> tuple[Array, Array]:
        """Return y and the winning blocks, computed in torch; y is zero in the losing blocks."""
        g, boost = self.geometry, self.boost
        image = np.where(channel_mask(active, g.c_in), x, 0)
        factor, winners = self._decision.reference(image.mean((0, 1), dtype=np.float32))
        z = g.convolve(torch.from_numpy(image), torch.from_numpy(self.weight)).numpy()
        y = factor * (boost.slope * z + boost.offset) + boost.beta
        y = np.where(channel_mask(winners, g.c_out), np.maximum(y, 0) if self.relu else y, 0)
        return y.astype(np.float32), winners


class FBSConvU8(_BoostedConv):
    """An FBS layer and the ReLU behind it in int8: x uint8 [h, w, c_in] to y uint8 [h', w', c_out].

    In x and in y, the byte 0 represents 0. The predictor works in float32: from the means of x it computes a factor for
    each channel, and the winning blocks. The convolution sums in int32.

    Args:
        geometry: the geometry of the convolution.
        weight: int8 levels [c_out, c_in, kh, kw].
        boost: the predictor that picks the winners, and the normalisation, in units of the convolution's output.
        level_in: real value of a step of x.
        level_weight: real value of a step of a weight.
        level_out: real value of a step of y.
        library: the compiled kernels; None loads the best ones for this CPU.
    """

    dtype = np.uint8

    def __init__(
        self,
        geometry: Geometry,
        weight: Any,
        boost: Boost,
        level_in: float,
        level_weight: float,
        level_out: float,
        library: Library | None = None,
    ) -> None:
        super().__init__(geometry, boost, library)
        self.levels = tuple(np.float32(level) for level in (level_in, level_weight, level_out))
        self.conv = ConvU8(geometry, weight, "bytes", library=library)

    def bind(self, x: Array, y: Array, winners: Array, active: Any = None) -> Callable[[], None]:
        """Return a function that runs the kernel on arrays at fixed addresses.

        The losing blocks of y keep their values.
        """
        read = self._check(x, y, winners, active)
        if not self.library:
            return lambda: self._by_reference(x, y, winners, read)
        level_in, level_weight, level_out = (float(level) for level in self.levels)
        conv = self.conv
        arguments = (
            byref(conv._shape),
            byref(self._decision.c),
            address(x),
            level_in,
            address(read),
            block_count(read),
            address(conv._packed),
            address(conv._sums),
            level_weight,
            address(conv.bias),
            level_out,
            address(y),
            address(winners),
            address(self._scratch),
        )
        return bind_call(self.library.function("fbs_u8"), arguments, x, y, winners, read, self)

    def reference(self, x: Array, active: Array | None = None) -> tuple[Array, Array]:
        """Return y and the winning blocks, computed in torch and numpy; y is zero in the losing blocks."""
        g, boost = self.geometry, self.boost
        level_in, level_weight, level_out = self.levels
        image = np.where(channel_mask(active, g.c_in), x, 0)
        total = image.sum((0, 1), dtype=np.int64).astype(np.float32)
        mean = total * (level_in / np.float32(g.image[0] * g.image[1]))
        factor, winners = self._decision.reference(mean)
        # The output is factor (slope z + offset) + beta in real numbers, where z = level_in level_weight sums. Division
        # by level_out expresses it in steps of y.
        scale = factor * boost.slope * (level_in * level_weight / level_out)
        shift = (factor * boost.offset + boost.beta) / level_out
        y = requantise(convolve_integers(g, image, self.conv.weight), scale, shift, BYTES, 0)
        return np.where(channel_mask(winners, g.c_out), y, 0).astype(np.uint8), winners


class FBSLayer(BoostedLayer):
    """A trained FBS layer whose channels win in blocks of 16."""

    reads: ClassVar[tuple[int, ...]] = (BLOCK,)
    conv: FBSConv

    @classmethod
    def conv_from_module(cls, layer: FBSConv2d, image: Pair, relu: bool, positive: bool) -> FBSConv:
        """Return the kernel of a trained layer."""
        return FBSConv.from_module(layer, image, relu)

    @classmethod
    def conv_from_arrays(cls, geometry: Geometry, arrays: Mapping[str, Array], library: Library) -> FBSConv:
        """Return the kernel of a layer from the arrays of a bundle."""
        return FBSConv(geometry, arrays["weight"], Boost.load(arrays), bool(arrays["relu"]), library)

    def bind(self, x: Array, y: Array, active: ActiveChannels | None = None, whole: bool = True) -> Calls:
        """Return the native calls of the layer, in order; the second call, if any, clears the losing blocks of y."""
        library, groups = self.conv.library, self.active.groups
        assert library is not None
        calls: Calls = [self.conv.bind(x, y, groups, None if active is None else active.groups)]
        height, width, channels = self.shape
        if whole and self.conv.boost.winners < -(-channels // BLOCK):
            arguments = (address(y), height * width, channels, address(groups), len(groups))
            calls.append(bind_call(library.function("clear_f32"), arguments, y, self))
        return calls

    def reference(self, x: Array, active: ActiveChannels | None = None) -> Array:
        """Return the output of the layer, computed in torch or numpy."""
        return self.conv.reference(x, None if active is None else active.groups)[0]


def block_shares(channels: int) -> tuple[float, ...]:
    """Return the shares of channels at which a kernel of blocks is timed: about half of the blocks, and all.

    Half is rounded down to whole blocks. A layer of a single block is timed at all channels alone.

    >>> block_shares(48), block_shares(16)
    ((0.3333333333333333, 1.0), (1.0,))
    """
    blocks = -(-channels // BLOCK)
    half = BLOCK * (blocks // 2) / channels
    return (half, 1.0) if blocks >= 2 and half < 1 else (1.0,)


class FBSKernel(LayerKernel):
    """Feature boosting and suppression of blocks of 16 channels."""

    name = "fbs"
    source = SOURCES / "fbs.c"
    rank = 2
    runner = "fbs"
    case = 2
    shares = ("inputs", "outputs")
    listings = ("gated",)
    skips = ("channel-block-16",)
    layer = FBSLayer
    signatures: ClassVar[Signatures] = {
        "fbs_scratch": (SIZE, (SHAPE,)),
        "fbs_f32": (
            None,
            (
                SHAPE,
                POINTER(CBoost),
                ADDRESS,  # x
                ADDRESS,  # active input blocks
                INT,  # number of active input blocks
                ADDRESS,  # weights
                INT,  # whether a ReLU follows
                ADDRESS,  # y
                ADDRESS,  # winners
                ADDRESS,  # scratch
            ),
        ),
        "fbs_u8": (
            None,
            (
                SHAPE,
                POINTER(CBoost),
                ADDRESS,  # x
                FLOAT,  # real value of a step of x
                ADDRESS,  # active input blocks
                INT,  # number of active input blocks
                ADDRESS,  # weights
                ADDRESS,  # sums of weights
                FLOAT,  # real value of a step of a weight
                ADDRESS,  # bias
                FLOAT,  # real value of a step of y
                ADDRESS,  # y
                ADDRESS,  # winners
                ADDRESS,  # scratch
            ),
        ),
        "clear_f32": (None, (ADDRESS, INT, INT, ADDRESS, INT)),
        "winners": (None, (ADDRESS, INT, INT, ADDRESS)),
        "pool_f32": (None, (ADDRESS, INT, INT, ADDRESS, INT, ADDRESS, ADDRESS)),
        "pool_u8": (None, (ADDRESS, INT, INT, ADDRESS, INT, ADDRESS, ADDRESS)),
    }

    def table_calls(self, listing: Listing) -> Iterator[KernelCall]:
        """Yield calls at each share of outputs, with all inputs and with the input share of the listing's last pair."""
        few = listing.pairs[-1][0]
        for inputs, outputs in product(sorted({1.0, few}), listing.shares):
            yield KernelCall(self.name, listing.shape, (), (("inputs", inputs), ("outputs", outputs)))

    def macs(self, call: KernelCall) -> float:
        """Return the multiply-accumulates of the dense convolution."""
        return conv_macs(call.shape)

    def work(self, call: KernelCall, tile: int) -> Terms:
        """Return the work terms of the convolution, of the input's mean, of the predictor and of the choice of winners.

        The predictor scores every output block, also the losing ones. The choice compares the scores of all pairs of
        blocks.
        """
        shares = dict(call.remaining)
        h, w, c_in, c_out, *_ = call.shape
        blocks_in, blocks_out = count_blocks(c_in, shares.get("inputs", 1.0)), count_blocks(c_out)
        return {
            **conv_terms(call.shape, tile, **shares),
            **pair_terms(call.shape, tile, **shares),
            "blocks pooled": h * w * blocks_in,
            "pairs of blocks predicted": blocks_in * blocks_out,
            "blocks scored": blocks_out,
            "scores compared": blocks_out * blocks_out,
        }

    def axes(self, call: KernelCall, reads_blocks: bool = True) -> Axes:
        """Return the timed shares of inputs and outputs: about half of the blocks, and all blocks."""
        c_in, c_out = call.shape[2:4]
        return {"inputs": block_shares(c_in) if reads_blocks else (1.0,), "outputs": block_shares(c_out)}

    def sample(self, call: KernelCall, library: Library, generator: np.random.Generator) -> Sample:
        """Return a random layer and an input that is not negative, like the output of a ReLU."""
        geometry = Geometry.from_shape(call.shape)
        boost, active = random_boost(call, geometry, BLOCK, generator)
        conv = FBSConv(geometry, random_normal(generator, *geometry.weights), boost, library=library)
        return Sample(FBSLayer(conv), np.abs(random_normal(generator, *geometry.image, geometry.c_in)), active)
