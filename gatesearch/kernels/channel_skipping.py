"""Convolutions that compute only the channels that win, whether single ones or blocks: what both kernels share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from ctypes import byref
from typing import Any, NamedTuple

import numpy as np

from gatesearch.gates import BLOCK, KernelCall
from gatesearch.kernels.arrays import Array, address, aligned, block_count, checked
from gatesearch.kernels.base import ActiveChannels, Calls
from gatesearch.kernels.boosted_layer import BoostedLayer
from gatesearch.kernels.fbs_predictor import Boost, Decision
from gatesearch.kernels.geometry import Geometry
from gatesearch.kernels.library import Library, bind_call


class NativeCall(NamedTuple):
    """A C function, its own arguments before those of the input and after them, and scratch memory."""

    function: str
    before_input: tuple[Any, ...]
    after_input: tuple[Any, ...]
    scratch: Array


class ChannelSkippingConv(ABC):
    """Float32 x [h, w, c_in] to y [h', w', c_out]: the kernel picks the channels that win, and computes only them.

    Args:
        geometry: of the convolution.
        boost: picks the winners, and holds the norm; its block is 1 or 16.
        relu: whether what is negative becomes 0.
        library: None is the best for this CPU.

    Raises:
        ValueError: there is no kernel for such blocks, or more would win than there are.
    """

    weight: Array

    def __init__(self, geometry: Geometry, boost: Boost, relu: bool, library: Library | None) -> None:
        self.geometry, self.boost, self.relu = geometry, boost, relu
        self._decision = Decision(geometry, boost, (1, BLOCK), library)
        self.library = self._decision.library
        if self.library:
            self._shape = geometry.c

    def __call__(self, x: Any, active: ActiveChannels | None = None) -> tuple[Array, Array]:
        """Return y, losers being 0, and the groups that won, ascending.

        Args:
            x: float32 [h, w, c_in].
            active: channels of x that are there; None is all.
        """
        image = checked(x, "x", np.float32, (*self.geometry.image, self.geometry.c_in))
        y = np.full((*self.geometry.output, self.geometry.c_out), np.nan, np.float32)
        winners = np.zeros(self.boost.winners, np.int32)
        self.bind(image, y, winners, active)()
        return y, winners

    def bind(
        self, x: Array, y: Array, winners: Array, active: ActiveChannels | None = None, whole: bool = True
    ) -> Callable[[], None]:
        """Return the call for arrays that stay where they are.

        Args:
            x, y: see above.
            winners: takes the groups that win, int32.
            active: channels of x that are there.
            whole: whether losers are cleared; else they are left as they are.
        """
        g = self.geometry
        checked(x, "x", np.float32, (*g.image, g.c_in))
        checked(y, "y", np.float32, (*g.output, g.c_out))
        checked(winners, "winners", np.int32, (self.boost.winners,))
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
        """Compute the same with torch and numpy: everything, and then only what wins."""
        g, boost = self.geometry, self.boost
        read = only_active(x, active)
        factor, winners = self._decision.reference(read.mean((0, 1), dtype=np.float32))
        won = ActiveChannels(winners, boost.block).channels(g.c_out)
        y = factor * (boost.slope * self._products(read, won) + boost.offset) + boost.beta
        y = np.maximum(y, 0) if self.relu else y
        result = np.zeros((*g.output, g.c_out), np.float32)
        result[..., won] = y[..., won]
        return result, winners

    @abstractmethod
    def _native_call(self) -> NativeCall:
        """Return the C function and the arguments that only it has."""

    @abstractmethod
    def _products(self, x: Array, won: Array) -> Array:
        """Return the convolution for the channels that won [h', w', c_out]."""

    def _by_reference(self, x: Array, y: Array, winners: Array, active: ActiveChannels | None) -> None:
        y[...], winners[:] = self.reference(x, active)


def only_active(x: Array, active: ActiveChannels | None) -> Array:
    """Return x [h, w, c] with zeros where no channel is active."""
    if active is None:
        return x
    read, channels = np.zeros_like(x), active.channels(x.shape[-1])
    read[..., channels] = x[..., channels]
    return read


def taps(weight: Array) -> Array:
    """Return weights [c_out, c_in, kh, kw] as [kh, kw, c_in, 16 x blocks_out], zero where there is no channel."""
    moved = weight.transpose(2, 3, 1, 0)
    padded = aligned((*moved.shape[:3], -(-len(weight) // BLOCK) * BLOCK), weight.dtype)
    padded[..., : len(weight)] = moved
    return padded


class ChannelSkippingLayer(BoostedLayer):
    """A trained layer that such a kernel runs."""

    conv: ChannelSkippingConv

    def bind(self, x: Array, y: Array, active: ActiveChannels | None = None, whole: bool = True) -> Calls:
        """See :class:`~gatesearch.kernels.base.NativeLayer`."""
        return [self.conv.bind(x, y, self.active.groups, active, whole)]


class Winners(NamedTuple):
    """How many channels a call reads and computes.

    Args:
        block: channels of a group that wins or loses together.
        read: input channels.
        won: output channels.
    """

    block: int
    read: float
    won: float

    @classmethod
    def of_call(cls, call: KernelCall) -> Winners:
        """Return the numbers for a call: whole groups, and at least one."""
        _, _, c_in, c_out, *_ = call.shape
        left, block = dict(call.left), int(dict(call.variant).get("block", 1))
        sides = ((c_in, left.get("inputs", 1.0)), (c_out, left.get("outputs", 1.0)))
        groups = (max(1, math.floor(-(-channels // block) * share + 0.5)) for channels, share in sides)
        read, won = (min(channels, count * block) for (channels, _), count in zip(sides, groups, strict=True))
        return cls(block, read, won)
