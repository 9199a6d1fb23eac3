"""Feature boosting and suppression of single channels: the filters of the winners are gathered, then multiplied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ctypes import POINTER, byref
from typing import Any, ClassVar

import numpy as np
import torch

from gatesearch.gates import KernelCall
from gatesearch.gates.fbs import FBSConv2d
from gatesearch.kernels.arrays import Array, address, aligned, checked
from gatesearch.kernels.base import Axes, LayerKernel, Listing, Sample, random_normal
from gatesearch.kernels.channel_skipping import ChannelSkippingConv, ChannelSkippingLayer, NativeCall, Winners, taps
from gatesearch.kernels.fbs_predictor import Boost, CBoost, filters, plain, random_boost
from gatesearch.kernels.geometry import Geometry, Pair, output_size
from gatesearch.kernels.library import ADDRESS, INT, SHAPE, SIZE, SOURCES, Library, Signatures
from gatesearch.kernels.work_terms import Terms, blocks_left, conv_macs, conv_terms


class FBSSingle(ChannelSkippingConv):
    """Feature boosting and suppression of single channels, and unless ``relu`` is False the ReLU behind it.

    Args:
        geometry: of the convolution.
        weight: float32 [c_out, c_in, kh, kw].
        boost: see :class:`ChannelSkippingConv`.
        relu: see there.
        library: see there.
    """

    def __init__(
        self, geometry: Geometry, weight: Any, boost: Boost, relu: bool = True, library: Library | None = None
    ) -> None:
        super().__init__(geometry, boost, relu, library)
        self.weight = checked(weight, "weight", np.float32, geometry.weights)
        if self.library:
            self._taps = taps(self.weight)
            self._scratch = aligned(self.library.function("fbs_single_scratch")(byref(self._shape)), np.uint8)

    @classmethod
    def from_module(cls, layer: FBSConv2d, image: Pair, relu: bool = True, library: Library | None = None) -> FBSSingle:
        """Return the kernel of a trained layer for images of the given height and width.

        Raises:
            ValueError: its convolution gates on its own, or has no kernel.
        """
        inner = plain(layer)
        return cls(Geometry.from_layer(inner, image), filters(inner), Boost.from_module(layer), relu, library)

    def _native_call(self) -> NativeCall:
        return NativeCall("fbs_single", (), (address(self._taps),), self._scratch)

    def _products(self, x: Array, won: Array) -> Array:
        y: Array = self.geometry.convolve(torch.from_numpy(x), torch.from_numpy(self.weight)).numpy()
        return y


class FBSSingleLayer(ChannelSkippingLayer):
    """A trained FBS layer whose channels win one by one."""

    @classmethod
    def conv_from_module(cls, layer: FBSConv2d, image: Pair, relu: bool, positive: bool) -> FBSSingle:
        """Return the kernel of a trained layer."""
        return FBSSingle.from_module(layer, image, relu)

    @classmethod
    def conv_from_arrays(cls, geometry: Geometry, arrays: Mapping[str, Array], library: Library) -> FBSSingle:
        """Return the kernel of a layer's arrays."""
        return FBSSingle(geometry, arrays["weight"], Boost.load(arrays), bool(arrays["relu"]), library)


class FBSSingleKernel(LayerKernel):
    """Feature boosting and suppression of single channels."""

    name = "fbs_single"
    source = SOURCES / "fbs_single.c"
    rank = 8
    runner = "fbs_single"
    case = 4
    shares = ("inputs", "outputs")
    listings = ("gathered",)
    skips = ("channel", "channel-block-16")
    layer = FBSSingleLayer
    signatures: ClassVar[Signatures] = {
        "fbs_single_scratch": (SIZE, (SHAPE,)),
        "fbs_single": (
            None,
            (
                *(SHAPE, POINTER(CBoost), ADDRESS, ADDRESS, INT, INT),  # x, active inputs and the size of their groups
                *(ADDRESS, INT, INT, ADDRESS, ADDRESS, ADDRESS),  # taps, ReLU, clear losers, y, winners, scratch
            ),
        ),
    }

    def listed(self, listing: Listing) -> Iterator[KernelCall]:
        """Yield a call for each pair of shares."""
        for inputs, outputs in listing.pairs:
            yield KernelCall(self.name, listing.shape, (), (("inputs", inputs), ("outputs", outputs)))

    def macs(self, call: KernelCall) -> float:
        """Return those of the dense convolution."""
        return conv_macs(call.shape)

    def work(self, call: KernelCall, tile: int) -> Terms:
        """Return terms of a dense convolution of the channels that are there, and of choosing and gathering them.

        Winners are found by a radix of 31 bits over all scores, hence 31 passes.
        """
        h, w, c_in, c_out, *rest = call.shape
        _, read, won = Winners.of_call(call)
        out_h, out_w = output_size(call.shape)
        taps_read, pixels = rest[0] * rest[1] * read, float(out_h * out_w)
        return {
            **conv_terms((h, w, int(read), int(won), *rest), tile),
            "taps gathered": taps_read * won,
            "blocks of taps gathered": taps_read * blocks_left(int(won)),
            "rows of taps gathered": taps_read,
            "inputs gathered": h * w * read if read < c_in else 0.0,
            "blocks pooled": h * w * blocks_left(int(read)),
            "winners written": pixels * won,
            "channels cleared": pixels * c_out,
            "pairs of blocks predicted": blocks_left(c_in) * blocks_left(c_out),
            "channels scored": float(c_out),
            "scores passed over": 31.0 * c_out,
        }

    def axes(self, call: KernelCall, reads_blocks: bool = True) -> Axes:
        """Return all channels and half of them, on each side."""
        return single_axes(reads_blocks)

    def sample(self, call: KernelCall, library: Library, generator: np.random.Generator) -> Sample:
        """Return a random layer; its inputs are not negative, as behind a ReLU."""
        geometry = Geometry.from_shape(call.shape)
        boost, active = random_boost(call, geometry, 1, generator)
        conv = FBSSingle(geometry, random_normal(generator, *geometry.weights), boost, library=library)
        return Sample(FBSSingleLayer(conv), np.abs(random_normal(generator, *geometry.image, geometry.c_in)), active)


def single_axes(reads_blocks: bool) -> Axes:
    """Return all channels and half of them, on each side."""
    return {"inputs": (0.5, 1.0) if reads_blocks else (1.0,), "outputs": (0.5, 1.0)}
