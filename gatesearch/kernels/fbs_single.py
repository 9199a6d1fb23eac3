"""Kernel of feature boosting and suppression (FBS) that selects single channels, not blocks of channels.

A predictor scores the output channels from the means of the input channels. The channels with the largest scores win,
and the kernel computes only these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ctypes import POINTER, byref
from typing import Any, ClassVar

import numpy as np
import torch

from gatesearch.gates import KernelCall
from gatesearch.gates.fbs import FBSConv2d
from gatesearch.kernels.arrays import Array, address, aligned_zeros, check_array
from gatesearch.kernels.base import Axes, LayerKernel, Listing, Sample, random_normal
from gatesearch.kernels.channel_skipping import (
    ChannelSkippingConv,
    ChannelSkippingLayer,
    NativeCall,
    Winners,
    weights_by_tap,
)
from gatesearch.kernels.fbs_predictor import Boost, CBoost, conv_weights, plain_conv, random_boost
from gatesearch.kernels.geometry import Geometry, Pair, output_size
from gatesearch.kernels.library import ADDRESS, INT, SHAPE, SIZE, SOURCES, Library, Signatures
from gatesearch.kernels.work_terms import Terms, conv_macs, conv_terms, count_blocks


class FBSSingle(ChannelSkippingConv):
    """Feature boosting and suppression of single channels, with the ReLU behind it if ``relu``.

    Args:
        geometry: the geometry of the convolution.
        weight: float32 [c_out, c_in, kh, kw].
        boost: the predictor that picks the winners, and the normalisation.
        relu: whether negative outputs become 0.
        library: the compiled kernels; None loads the best ones for this CPU.
    """

    def __init__(
        self, geometry: Geometry, weight: Any, boost: Boost, relu: bool = True, library: Library | None = None
    ) -> None:
        super().__init__(geometry, boost, relu, library)
        self.weight = check_array(weight, "weight", np.float32, geometry.weights)
        if self.library:
            self._taps = weights_by_tap(self.weight)
            self._scratch = aligned_zeros(self.library.function("fbs_single_scratch")(byref(self._shape)), np.uint8)

    @classmethod
    def from_module(cls, layer: FBSConv2d, image: Pair, relu: bool = True, library: Library | None = None) -> FBSSingle:
        """Return the kernel of a trained layer for images of the given height and width.

        Raises:
            ValueError: the layer's convolution is itself gated, or has no kernel.
        """
        inner = plain_conv(layer)
        return cls(Geometry.from_layer(inner, image), conv_weights(inner), Boost.from_module(layer), relu, library)

    def _native_call(self) -> NativeCall:
        return NativeCall("fbs_single", (), (address(self._taps),), self._scratch)

    def _products(self, x: Array, channels: Array) -> Array:
        y: Array = self.geometry.convolve(torch.from_numpy(x), torch.from_numpy(self.weight)).numpy()
        return y


class FBSSingleLayer(ChannelSkippingLayer):
    """A trained FBS layer that selects single channels."""

    @classmethod
    def conv_from_module(cls, layer: FBSConv2d, image: Pair, relu: bool, positive: bool) -> FBSSingle:
        """Return the kernel of a trained layer."""
        return FBSSingle.from_module(layer, image, relu)

    @classmethod
    def conv_from_arrays(cls, geometry: Geometry, arrays: Mapping[str, Array], library: Library) -> FBSSingle:
        """Return the kernel of a layer from the arrays of a bundle."""
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
                SHAPE,
                POINTER(CBoost),
                ADDRESS,  # x
                ADDRESS,  # active groups of inputs
                INT,  # number of active groups
                INT,  # channels of a group
                ADDRESS,  # weights by tap
                INT,  # whether a ReLU follows
                INT,  # whether to clear the channels that lose
                ADDRESS,  # y
                ADDRESS,  # winners
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
        """Return the work terms of a dense convolution of active channels, and of the choice and gathering of winners.

        A work term counts the iterations of one loop of the C code. The kernel finds the smallest winning score bit by
        bit: it passes over all scores once for each of 31 bits.
        """
        h, w, c_in, c_out, *rest = call.shape
        _, inputs, outputs = Winners.from_call(call)
        out_h, out_w = output_size(call.shape)
        kh, kw = rest[:2]
        taps, pixels = kh * kw * inputs, float(out_h * out_w)
        return {
            **conv_terms((h, w, int(inputs), int(outputs), *rest), tile),
            "taps gathered": taps * outputs,
            "blocks of taps gathered": taps * count_blocks(int(outputs)),
            "rows of taps gathered": taps,
            "inputs gathered": h * w * inputs if inputs < c_in else 0.0,
            "blocks pooled": h * w * count_blocks(int(inputs)),
            "winners written": pixels * outputs,
            "channels cleared": pixels * c_out,
            "pairs of blocks predicted": count_blocks(c_in) * count_blocks(c_out),
            "channels scored": float(c_out),
            "scores passed over": 31.0 * c_out,
        }

    def axes(self, call: KernelCall, reads_blocks: bool = True) -> Axes:
        """Return the timed shares of inputs and outputs, by name."""
        return single_axes(reads_blocks)

    def sample(self, call: KernelCall, library: Library, generator: np.random.Generator) -> Sample:
        """Return a random layer and an input that is not negative, like the output of a ReLU."""
        geometry = Geometry.from_shape(call.shape)
        boost, active = random_boost(call, geometry, 1, generator)
        conv = FBSSingle(geometry, random_normal(generator, *geometry.weights), boost, library=library)
        return Sample(FBSSingleLayer(conv), np.abs(random_normal(generator, *geometry.image, geometry.c_in)), active)


def single_axes(reads_blocks: bool) -> Axes:
    """Return the timed shares of outputs and inputs: half and all channels; without ``reads_blocks``, all inputs."""
    return {"inputs": (0.5, 1.0) if reads_blocks else (1.0,), "outputs": (0.5, 1.0)}
