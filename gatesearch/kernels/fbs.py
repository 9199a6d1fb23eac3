"""Feature boosting and suppression as one call: which blocks win is decided, and only they are computed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from ctypes import byref
from typing import Any, ClassVar

import numpy as np
import torch

from gatesearch.gates import BLOCK
from gatesearch.gates.fbs import FBSConv2d
from gatesearch.kernels import native
from gatesearch.kernels.arrays import Array, address, aligned, blocks, channel_mask, checked
from gatesearch.kernels.conv import BYTES, Conv, ConvU8, _call, _count, finished, whole_sums
from gatesearch.kernels.fbs_predictor import Boost, Decision, filters, plain
from gatesearch.kernels.geometry import Geometry, Pair


class _Boosted(ABC):
    """What both arithmetics share: calls, checks, and the way without a compiler."""

    dtype: ClassVar[type[np.generic]]

    def __init__(self, geometry: Geometry, boost: Boost, library: native.Library | None) -> None:
        self.geometry, self.boost = geometry, boost
        self._decision = Decision(geometry, boost, (BLOCK,), library)
        self.library = self._decision.library
        if self.library:
            self._scratch = aligned(self.library.function("fbs_scratch")(byref(geometry.c)), np.uint8)

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
        super().__init__(geometry, boost, library)
        self.relu, self.conv = relu, Conv(geometry, weight, library=library)
        self.weight = self.conv.weight

    @classmethod
    def of(cls, layer: FBSConv2d, image: Pair, relu: bool = True, library: native.Library | None = None) -> FBSConv:
        """Take over a trained layer for images of the given height and width.

        Raises:
            ValueError: its channels do not win in blocks of 16, or its convolution gates on its own.
        """
        inner = plain(layer)
        return cls(Geometry.of(inner, image), filters(inner), Boost.of(layer), relu, library)

    def bind(self, x: Array, y: Array, winners: Array, inputs: Any = None) -> Callable[[], None]:
        """Return the call for arrays that stay where they are; losing blocks of y are left as they are."""
        read = self._read(x, y, winners, inputs)
        if not self.library:
            return lambda: self._by_reference(x, y, winners, read)
        arguments = (
            *(byref(self.conv._shape), byref(self._decision.c), address(x), address(read), _count(read)),
            *(address(self.conv._packed), int(self.relu), address(y), address(winners), address(self._scratch)),
        )
        return _call(self.library.function("fbs_f32"), arguments, x, y, winners, read, self)

    def reference(self, x: Array, inputs: Array | None = None) -> tuple[Array, Array]:
        """Compute the same with torch: everything, and then only what wins."""
        g, boost = self.geometry, self.boost
        there = np.where(channel_mask(inputs, g.c_in), x, 0)
        factor, winners = self._decision.reference(there.mean((0, 1), dtype=np.float32))
        z = g.convolve(torch.from_numpy(there), torch.from_numpy(self.weight)).numpy()
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
        super().__init__(geometry, boost, library)
        self.levels = tuple(np.float32(level) for level in (level_in, level_weight, level_out))
        self.conv = ConvU8(geometry, weight, "bytes", library=library)

    def bind(self, x: Array, y: Array, winners: Array, inputs: Any = None) -> Callable[[], None]:
        """Return the call for arrays that stay where they are; losing blocks of y are left as they are."""
        read = self._read(x, y, winners, inputs)
        if not self.library:
            return lambda: self._by_reference(x, y, winners, read)
        level_in, level_weight, level_out = (float(level) for level in self.levels)
        conv = self.conv
        arguments = (
            *(byref(conv._shape), byref(self._decision.c), address(x), level_in, address(read), _count(read)),
            *(address(conv._packed), address(conv._sums), level_weight, address(conv.bias), level_out),
            *(address(y), address(winners), address(self._scratch)),
        )
        return _call(self.library.function("fbs_u8"), arguments, x, y, winners, read, self)

    def reference(self, x: Array, inputs: Array | None = None) -> tuple[Array, Array]:
        """Compute the same with torch and numpy: everything, and then only what wins."""
        g, boost = self.geometry, self.boost
        level_in, level_weight, level_out = self.levels
        there = np.where(channel_mask(inputs, g.c_in), x, 0)
        total = there.sum((0, 1), dtype=np.int64).astype(np.float32)
        mean = total * (level_in / np.float32(g.image[0] * g.image[1]))
        factor, winners = self._decision.reference(mean)
        scale = factor * boost.slope * (level_in * level_weight / level_out)
        shift = (factor * boost.offset + boost.beta) / level_out
        y = finished(whole_sums(g, there, self.conv.weight), scale, shift, BYTES, 0)
        return np.where(channel_mask(winners, g.c_out), y, 0).astype(np.uint8), winners
