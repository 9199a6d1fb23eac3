"""Depthwise convolution in int8: a filter for each channel."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import byref
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from gatesearch.kernels import native
from gatesearch.kernels.arrays import Array, address, checked, like, padded
from gatesearch.kernels.conv import BYTES, _call, finished
from gatesearch.kernels.geometry import Geometry


class DepthwiseU8:
    """y = round(scale (conv(x - zero) + bias)) + zero_out, clipped to 0 .. 255; x [h, w, c] to y [h', w', c], uint8.

    Args:
        geometry: of the layer, with as many channels out as in.
        weight: int8 [c, kh, kw].
        zero, zero_out: the x and the y that stand for 0.
        bias: int32 [c]; None is 0.
        scale: float32 [c]; None is 1.
        library: None is the best for this CPU.

    >>> layer = DepthwiseU8(Geometry((2, 2), 3, 3, (2, 2)), np.ones((3, 2, 2), np.int8))
    >>> layer(np.full((2, 2, 3), 5, np.uint8)).tolist()
    [[[20, 20, 20]]]
    """

    def __init__(
        self,
        geometry: Geometry,
        weight: Any,
        zero: int = 0,
        zero_out: int = 0,
        bias: Any = None,
        scale: Any = None,
        library: native.Library | None = None,
    ) -> None:
        if geometry.c_in != geometry.c_out:
            raise ValueError(f"{geometry.c_in} channels in, {geometry.c_out} out: both must be the same")
        self.geometry, self.zero, self.zero_out = geometry, zero, zero_out
        self.weight = checked(weight, "weight", np.int8, (geometry.c_out, *geometry.kernel))
        self.bias = padded(bias, "bias", np.int32, geometry.c_out, 0)
        self.scale = padded(scale, "scale", np.float32, geometry.c_out, 1)
        self.library = library or native.load()
        self._shape, self._by_tap = geometry.c, np.ascontiguousarray(self.weight.transpose(1, 2, 0))

    def __call__(self, x: Any) -> Any:
        """Convolve uint8 [h, w, c]."""
        g = self.geometry
        image = checked(x, "x", np.uint8, (*g.image, g.c_in))
        y = np.empty((*g.output, g.c_out), np.uint8)
        self.bind(image, y)()
        return like(x, y)

    def bind(self, x: Array, y: Array) -> Callable[[], None]:
        """Return the call for arrays that stay where they are."""
        g = self.geometry
        checked(x, "x", np.uint8, (*g.image, g.c_in)), checked(y, "y", np.uint8, (*g.output, g.c_out))
        if not self.library:
            return lambda: np.copyto(y, self.reference(x))
        rest = (address(self._by_tap), address(self.bias), address(self.scale), self.zero_out, address(y))
        arguments = (byref(self._shape), address(x), self.zero, *rest)
        return _call(self.library.function("depthwise_u8"), arguments, x, y, self)

    def reference(self, x: Array) -> Array:
        """Compute the same with torch and numpy."""
        g = self.geometry
        image = torch.from_numpy(x.astype(np.float64) - self.zero).movedim(-1, 0)[None]
        filters = torch.from_numpy(self.weight.astype(np.float64))[:, None]
        sums = F.conv2d(image, filters, None, g.stride, g.padding, g.dilation, g.c_out)[0].movedim(0, -1)
        whole = sums.numpy().round().astype(np.int64) + self.bias[: g.c_out]
        scale = self.scale[: g.c_out]
        return finished(whole, scale, np.zeros_like(scale), BYTES, self.zero_out).astype(np.uint8)
