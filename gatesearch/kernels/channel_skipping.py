"""Base classes of the kernels ``fbs_single`` and ``fbs_pg``: convolutions that compute only winning channels.

Both kernels do feature boosting and suppression (FBS). A predictor scores the output channels from the means of the
input channels. The groups of channels with the largest scores win; the others are not computed.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from ctypes import byref
from typing import Any, NamedTuple

import numpy as np

from gatesearch.gates import BLOCK, KernelCall
from gatesearch.kernels.arrays import Array, address, aligned_zeros, block_count, check_array
from gatesearch.kernels.base import ActiveChannels, Calls
from gatesearch.kernels.boosted_layer import BoostedLayer
from gatesearch.kernels.fbs_predictor import Boost, Decision
from gatesearch.kernels.geometry import Geometry
from gatesearch.kernels.library import Library, bind_call


class NativeCall(NamedTuple):
    """A kernel's C function, its scratch memory, and the arguments that the other kernel does not have.

    These arguments stand before or after those of the input.
    """

    function: str
    before_input: tuple[Any, ...]
    after_input: tuple[Any, ...]
    scratch: Array


class ChannelSkippingConv(ABC):
    """A convolution that computes only the channels that win; float32 x [h, w, c_in] to y [h', w', c_out].

    Args:
        geometry: the geometry of the convolution.
        boost: the predictor, which picks winners in blocks of 1 or 16 channels, and the normalisation.
        relu: whether negative outputs become 0.
        library: the compiled kernels; None loads the best ones for this CPU.

    Raises:
        ValueError: there is no kernel for blocks of this size, or more blocks would win than exist.
    """

    weight: Array

    def __init__(self, geometry: Geometry, boost: Boost, relu: bool, library: Library | None) -> None:
        self.geometry, self.boost, self.relu = geometry, boost, relu
        self._decision = Decision(geometry, boost, (1, BLOCK), library)
        self.library = self._decision.library
        if self.library:
            self._shape = geometry.c

    def __call__(self, x: Any, active: ActiveChannels | None = None) -> tuple[Array, Array]:
        """Return y and the indices of the winning groups, ascending; y is zero in the channels that lose.

        Args:
            x: float32 [h, w, c_in].
            active: channels of x that hold values; None means all.
        """
        image = check_array(x, "x", np.float32, (*self.geometry.image, self.geometry.c_in))
        y = np.full((*self.geometry.output, self.geometry.c_out), np.nan, np.float32)
        winners = np.zeros(self.boost.winners, np.int32)
        self.bind(image, y, winners, active)()
        return y, winners

    def bind(
        self, x: Array, y: Array, winners: Array, active: ActiveChannels | None = None, whole: bool = True
    ) -> Callable[[], None]:
        """Return a function that runs the kernel on arrays at fixed addresses.

        Args:
            x: input, float32 [h, w, c_in].
            y: output, float32 [h', w', c_out].
            winners: int32 array that receives the indices of the winning groups.
            active: channels of x that hold values; None means all.
            whole: whether the call clears the channels of y that lose; else they keep their values.
        """
        g = self.geometry
        check_array(x, "x", np.float32, (*g.image, g.c_in))
        check_array(y, "y", np.float32, (*g.output, g.c_out))
        check_array(winners, "winners", np.int32, (self.boost.winners,))
        if not self.library:
            return lambda: self._by_reference(x, y, winners, active)
        groups, size = (None, BLOCK) if active is None else active
        call = self._native_call()
        arguments = (
            byref(self._shape),
            byref(self._decision.c),
            *call.before_input,
            address(x),
            address(groups),
            block_count(groups),
            size,
            *call.after_input,
            int(self.relu),
            int(whole),
            address(y),
            address(winners),
            address(call.scratch),
        )
        return bind_call(self.library.function(call.function), arguments, x, y, winners, groups, self)

    def reference(self, x: Array, active: ActiveChannels | None = None) -> tuple[Array, Array]:
        """Return y and the winning groups, computed in torch and numpy; y is zero in the channels that lose."""
        g, boost = self.geometry, self.boost
        image = zero_inactive(x, active)
        factor, winners = self._decision.reference(image.mean((0, 1), dtype=np.float32))
        channels = ActiveChannels(winners, boost.block).channels(g.c_out)
        y = factor * (boost.slope * self._products(image, channels) + boost.offset) + boost.beta
        y = np.maximum(y, 0) if self.relu else y
        result = np.zeros((*g.output, g.c_out), np.float32)
        result[..., channels] = y[..., channels]
        return result, winners

    @abstractmethod
    def _native_call(self) -> NativeCall:
        """Return the C function with its own arguments and its scratch memory."""

    @abstractmethod
    def _products(self, x: Array, channels: Array) -> Array:
        """Return the convolution [h', w', c_out]; its values have to be correct only in the winning ``channels``."""

    def _by_reference(self, x: Array, y: Array, winners: Array, active: ActiveChannels | None) -> None:
        y[...], winners[:] = self.reference(x, active)


def zero_inactive(x: Array, active: ActiveChannels | None) -> Array:
    """Return x [h, w, c] with zeros in the channels that are not active."""
    if active is None:
        return x
    image, channels = np.zeros_like(x), active.channels(x.shape[-1])
    image[..., channels] = x[..., channels]
    return image


def weights_by_tap(weight: Array) -> Array:
    """Return weights [c_out, c_in, kh, kw] as [kh, kw, c_in, 16 x blocks_out], with zeros beyond c_out.

    The outputs come last: the kernel then gathers the weights of the winners from one row for each tap and input.
    """
    by_tap = weight.transpose(2, 3, 1, 0)
    whole_blocks = aligned_zeros((*by_tap.shape[:3], -(-len(weight) // BLOCK) * BLOCK), weight.dtype)
    whole_blocks[..., : len(weight)] = by_tap
    return whole_blocks


class ChannelSkippingLayer(BoostedLayer):
    """A trained layer that a :class:`ChannelSkippingConv` runs."""

    conv: ChannelSkippingConv

    def bind(self, x: Array, y: Array, active: ActiveChannels | None = None, whole: bool = True) -> Calls:
        """Return the native calls of the layer, in order; see :meth:`.NativeLayer.bind`."""
        return [self.conv.bind(x, y, self.active.groups, active, whole)]


class Winners(NamedTuple):
    """How many channels a call reads and computes.

    Args:
        block: number of channels in a group; they win or lose together.
        inputs: number of channels that the call reads.
        outputs: number of channels that the call computes.
    """

    block: int
    inputs: float
    outputs: float

    @classmethod
    def from_call(cls, call: KernelCall) -> Winners:
        """Return the numbers of channels for a call."""
        _, _, c_in, c_out, *_ = call.shape
        shares, block = dict(call.remaining), int(dict(call.variant).get("block", 1))
        inputs = _channels_of_groups(c_in, block, shares.get("inputs", 1.0))
        return cls(block, inputs, _channels_of_groups(c_out, block, shares.get("outputs", 1.0)))


def _channels_of_groups(channels: int, block: int, share: float) -> int:
    """Return the number of channels in a share of the groups; the share is rounded to whole groups, at least one."""
    groups = -(-channels // block)
    return min(channels, max(1, math.floor(groups * share + 0.5)) * block)
