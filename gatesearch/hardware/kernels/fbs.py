"""Feature boosting and suppression as one call: which blocks win is decided, and only they are computed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from ctypes import byref
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np
import torch
from torch import nn

from gatesearch.gates.fbs import FBSConv2d, PlainConv2d, winning_groups
from gatesearch.hardware.kernels import native
from gatesearch.hardware.kernels.arrays import BLOCK, Array, address, aligned, blocks, channel_mask, checked, padded
from gatesearch.hardware.kernels.conv import BYTES, Conv, ConvU8, _call, _count, finished, whole_sums
from gatesearch.hardware.kernels.geometry import Geometry, Pair


class Boost(NamedTuple):
    """What FBS adds to a convolution, float32: g = relu(phi mean(x) + rho), y = g (slope z + offset) + beta.

    ``phi`` is [c_out, c_in], the others [c_out]; ``winners`` is the number of blocks that are computed, of ``block``
    channels each.
    """

    phi: Array
    rho: Array
    slope: Array
    offset: Array
    beta: Array
    winners: int
    block: int = BLOCK

    @classmethod
    def of(cls, layer: FBSConv2d) -> Boost:
        """Take a trained layer's parts."""
        norm_slope, norm_offset = torch.ones(layer.channels), torch.zeros(layer.channels)
        if isinstance(layer.norm, nn.BatchNorm2d):
            assert layer.norm.running_mean is not None and layer.norm.running_var is not None
            norm_slope = (layer.norm.running_var + layer.norm.eps).rsqrt()
            norm_offset = -layer.norm.running_mean * norm_slope
        parts = (layer.predictor.weight, layer.predictor.bias, norm_slope, norm_offset, layer.beta)
        phi, rho, slope, offset, beta = (part.detach().float().contiguous().numpy() for part in parts)
        return cls(phi, rho, slope, offset, beta, winning_groups(layer.density, len(layer.sizes)), layer.block)


class _Boosted(ABC):
    """What both arithmetics share: calls, checks, and the way without a compiler."""

    dtype: ClassVar[type[np.generic]]
    geometry: Geometry
    boost: Boost

    def __call__(self, x: Any, inputs: Any = None) -> tuple[Array, Array]:
        """Return y [h', w', c_out], losers being 0, and the winning blocks, ascending.

        Args:
            x: of :attr:`dtype`, [h, w, c_in].
            inputs: blocks of x that are live, ascending; None is all.
        """
        image = checked(x, "x", self.dtype, (*self.geometry.image, self.geometry.c_in))
        y = np.zeros((*self.geometry.output, self.geometry.c_out), self.dtype)
        winners = np.zeros(self.boost.winners, np.int32)
        self.bind(image, y, winners, inputs)()
        return y, winners

    @abstractmethod
    def bind(self, x: Array, y: Array, winners: Array, inputs: Any = None) -> Callable[[], None]:
        """Return the call for arrays that stay where they are; losing blocks of y are left as they are."""

    @abstractmethod
    def reference(self, x: Array, inputs: Array | None = None) -> tuple[Array, Array]:
        """Compute the same with torch and numpy: everything, and then only what wins."""

    def _read(self, x: Array, y: Array, winners: Array, inputs: Any) -> Array | None:
        """Check what a call is bound to; return the blocks of x that it reads."""
        g = self.geometry
        checked(x, "x", self.dtype, (*g.image, g.c_in)), checked(y, "y", self.dtype, (*g.output, g.c_out))
        checked(winners, "winners", np.int32, (self.boost.winners,))
        return blocks(inputs, "inputs", g.c_in)

    def _by_reference(self, x: Array, y: Array, winners: Array, inputs: Array | None) -> None:
        made, winners[:] = self.reference(x, inputs)
        np.copyto(y, made, where=channel_mask(winners, self.geometry.c_out))


class FBSConv(_Boosted):
    """An FBS layer in float32 and, unless ``relu`` is False, the ReLU behind it.

    Args:
        geometry: of the convolution.
        weight: float32 [c_out, c_in, kh, kw].
        boost: what decides, and the norm.
        relu: whether what is negative becomes 0.
        library: None is the best for this CPU.
    """

    dtype = np.float32

    def __init__(
        self,
        geometry: Geometry,
        weight: Any,
        boost: Boost,
        relu: bool = True,
        library: native.Library | None = None,
    ) -> None:
        self.geometry, self.boost, self.relu = geometry, boost, relu
        self.conv = Conv(geometry, weight, library=library)
        self.library = self.conv.library
        phi = checked(boost.phi, "phi", np.float32, (geometry.c_out, geometry.c_in))
        if boost.block != BLOCK:
            raise ValueError(f"this kernel skips blocks of {BLOCK} channels, the layer blocks of {boost.block}")
        if not 1 <= boost.winners <= -(-geometry.c_out // BLOCK):
            raise ValueError(f"{boost.winners} blocks cannot win among {geometry.c_out} channels")
        self._predictor = Conv(Geometry((1, 1), geometry.c_in, geometry.c_out), phi[:, :, None, None], library=library)
        named = zip(("rho", "slope", "offset", "beta"), boost[1:5], strict=True)
        self._vectors = [padded(value, name, np.float32, geometry.c_out, 0) for name, value in named]
        if self.library:
            # FBS shares the scratch of its convolution and adds its own vectors.
            size = self.library.function("fbs_scratch")(byref(geometry.c))
            self._scratch = aligned(size, np.uint8)
            packed = address(self._predictor._packed)
            self._boost = native.Fbs(packed, *map(address, self._vectors), boost.winners, BLOCK)

    @classmethod
    def of(cls, layer: FBSConv2d, image: Pair, relu: bool = True, library: native.Library | None = None) -> FBSConv:
        """Take over a trained layer for images of the given height and width.

        Raises:
            ValueError: its channels do not win in blocks of 16, or its convolution gates on its own.
        """
        inner = cast(nn.Module, layer.inner)
        if not isinstance(inner, PlainConv2d):
            raise ValueError(f"no kernel for FBS around {type(inner).__name__}")
        weight = inner.weight.detach().float().contiguous()
        return cls(Geometry.of(inner, image), weight, Boost.of(layer), relu, library)

    def bind(self, x: Array, y: Array, winners: Array, inputs: Any = None) -> Callable[[], None]:
        """Return the call for arrays that stay where they are; losing blocks of y are left as they are."""
        read = self._read(x, y, winners, inputs)
        if not self.library:
            return lambda: self._by_reference(x, y, winners, read)
        arguments = (
            *(byref(self.conv._shape), byref(self._boost), address(x), address(read), _count(read)),
            *(address(self.conv._packed), int(self.relu), address(y), address(winners), address(self._scratch)),
        )
        return _call(self.library.function("fbs_f32"), arguments, x, y, winners, read, self)

    def reference(self, x: Array, inputs: Array | None = None) -> tuple[Array, Array]:
        """Compute the same with torch: everything, and then only what wins."""
        g, boost = self.geometry, self.boost
        there = np.where(channel_mask(inputs, g.c_in), x, 0)
        factor = np.maximum(boost.phi @ there.mean((0, 1), dtype=np.float32) + boost.rho, 0)
        winners = best_blocks(factor, boost.winners)
        z = g.convolve(torch.from_numpy(there), torch.from_numpy(self.conv.weight)).numpy()
        y = factor * (boost.slope * z + boost.offset) + boost.beta
        y = np.where(channel_mask(winners, g.c_out), np.maximum(y, 0) if self.relu else y, 0)
        return y.astype(np.float32), winners


class FBSConvU8(_Boosted):
    """An FBS layer and the ReLU behind it in int8: x uint8 [h, w, c_in] to y uint8 [h', w', c_out], zero being 0.

    Which blocks win, and g, are computed in float32 from the mean of x; the convolution sums in int32.

    Args:
        geometry: of the convolution.
        weight: int8 levels [c_out, c_in, kh, kw].
        boost: what decides, and the norm, in units of the convolution's output.
        level_in: what a step of x is worth.
        level_weight: what a step of a weight is worth.
        level_out: what a step of y is worth.
        library: None is the best for this CPU.
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
        library: native.Library | None = None,
    ) -> None:
        self.geometry, self.boost = geometry, boost
        self.levels = tuple(np.float32(level) for level in (level_in, level_weight, level_out))
        self.conv = ConvU8(geometry, weight, "bytes", library=library)
        # Its float form holds phi and the vectors as C wants them.
        self._float = FBSConv(geometry, np.zeros(geometry.weights, np.float32), boost, library=library)
        self.library = self.conv.library

    def bind(self, x: Array, y: Array, winners: Array, inputs: Any = None) -> Callable[[], None]:
        """Return the call for arrays that stay where they are; losing blocks of y are left as they are."""
        read = self._read(x, y, winners, inputs)
        if not self.library:
            return lambda: self._by_reference(x, y, winners, read)
        level_in, level_weight, level_out = (float(level) for level in self.levels)
        conv, gate = self.conv, self._float
        arguments = (
            *(byref(conv._shape), byref(gate._boost), address(x), level_in, address(read), _count(read)),
            *(address(conv._packed), address(conv._sums), level_weight, address(conv.bias), level_out),
            *(address(y), address(winners), address(gate._scratch)),
        )
        return _call(self.library.function("fbs_u8"), arguments, x, y, winners, read, self)

    def reference(self, x: Array, inputs: Array | None = None) -> tuple[Array, Array]:
        """Compute the same with torch and numpy: everything, and then only what wins."""
        g, boost = self.geometry, self.boost
        level_in, level_weight, level_out = self.levels
        there = np.where(channel_mask(inputs, g.c_in), x, 0)
        total = there.sum((0, 1), dtype=np.int64).astype(np.float32)
        mean = total * (level_in / np.float32(g.image[0] * g.image[1]))
        factor = np.maximum(boost.phi @ mean + boost.rho, 0)
        winners = best_blocks(factor, boost.winners)
        scale = factor * boost.slope * (level_in * level_weight / level_out)
        shift = (factor * boost.offset + boost.beta) / level_out
        y = finished(whole_sums(g, there, self.conv.weight), scale, shift, BYTES, 0)
        return np.where(channel_mask(winners, g.c_out), y, 0).astype(np.uint8), winners


def best_blocks(g: Array, count: int) -> Array:
    """Return the blocks of the largest mean of g [c_out], ascending; of equals the first win.

    >>> best_blocks(np.repeat([1.0, 3.0, 2.0, 3.0], 16), 2).tolist()
    [1, 3]
    """
    score = np.array([part.mean() for part in np.split(g, range(BLOCK, len(g), BLOCK))])
    return np.sort(np.argsort(-score, kind="stable")[:count]).astype(np.int32)
