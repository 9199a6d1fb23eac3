"""The small kernels around a gate: its head, and what is sent on of what it kept."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import byref
from typing import Any

import numpy as np

from gatesearch.kernels import native
from gatesearch.kernels.arrays import Array, address, checked, like
from gatesearch.kernels.geometry import Geometry


class GateHead:
    """logit = w_mean . mean(x) + w_most . max(x) + bias over the plane of x [h, w, channels], float32.

    Args:
        w_mean: float32 [channels].
        w_most: float32 [channels]; None leaves the maximum out.
        bias: a number.
        library: None is the best for this CPU.

    >>> head = GateHead(np.ones(2, np.float32), None, 0.5)
    >>> head(np.ones((3, 3, 2), np.float32))
    2.5
    """

    def __init__(self, w_mean: Any, w_most: Any, bias: float, library: native.Library | None = None) -> None:
        self.w_mean = checked(w_mean, "w_mean", np.float32, (None,))
        self.channels = len(self.w_mean)
        self.w_most = None if w_most is None else checked(w_most, "w_most", np.float32, (self.channels,))
        self.bias = bias
        self.library = library or native.load()
        self._pooled = np.empty(2 * self.channels, np.float32)

    def __call__(self, x: Any) -> float:
        """Return the logit of x [h, w, channels]."""
        return self.bind(checked(x, "x", np.float32, (None, None, self.channels)))()

    def bind(self, x: Array) -> Callable[[], float]:
        """Return the call for an array that stays where it is."""
        if not self.library:
            return lambda: self.reference(x)
        function, pixels = self.library.function("gate_f32"), x.shape[0] * x.shape[1]
        addresses = [None if a is None else address(a) for a in (x, self.w_mean, self.w_most, self._pooled)]

        def call(_kept: tuple[Any, ...] = (x, self)) -> float:
            image, mean, most, pooled = addresses
            return float(function(image, pixels, self.channels, mean, most, self.bias, pooled))

        return call

    def reference(self, x: Array) -> float:
        """Compute the same with numpy."""
        logit = self.w_mean @ x.mean((0, 1)) + self.bias
        return float(logit if self.w_most is None else logit + self.w_most @ x.max((0, 1)))


def pool_u8(x: Any, library: native.Library | None = None) -> tuple[Array, Array]:
    """Return the exact sums, int32, and the maxima, uint8, of each channel of x [h, w, channels], uint8."""
    image = checked(x, "x", np.uint8, (None, None, None))
    library = library or native.load()
    if not library:
        return image.sum((0, 1), dtype=np.int32), image.max((0, 1))
    pixels, channels = image.shape[0] * image.shape[1], image.shape[2]
    total, most = np.empty(channels, np.int32), np.empty(channels, np.uint8)
    library.function("pool_u8")(address(image), pixels, channels, None, 0, address(total), address(most))
    return total, most


def pool_windows(x: Any, geometry: Geometry, largest: bool = False, library: native.Library | None = None) -> Array:
    """Return the mean, rounded half up, or the largest value of each channel's windows of x [h, w, channels], uint8.

    Windows that stand over the border are what of them lies inside. The output channels of ``geometry`` do not count.

    Raises:
        ValueError: a window lies outside.
    """
    image = checked(x, "x", np.uint8, (*geometry.image, geometry.c_in))
    if any(pad >= size for pad, size in zip(geometry.padding, geometry.kernel, strict=True)):
        raise ValueError(f"padding {geometry.padding} leaves windows of {geometry.kernel} outside")
    library = library or native.load()
    y = np.empty((*geometry.output, geometry.c_in), np.uint8)
    if library:
        library.function("pool_window_u8")(byref(geometry.c), address(image), int(largest), address(y))
        return y
    (sh, sw), (kh, kw), (ph, pw) = geometry.stride, geometry.kernel, geometry.padding
    for row, column in np.ndindex(*geometry.output):
        top, left = row * sh - ph, column * sw - pw
        window = image[max(top, 0) : top + kh, max(left, 0) : left + kw].astype(np.int64)
        count = window.shape[0] * window.shape[1]
        y[row, column] = window.max((0, 1)) if largest else (window.sum((0, 1)) + count // 2) // count
    return y


def add_u8(
    x: Any, z: Any, scales: tuple[float, float], shift: float = 0.0, library: native.Library | None = None
) -> Array:
    """Return round(scales[0] x + scales[1] z + shift), half to even and clipped, of uint8 arrays of one shape."""
    first = checked(x, "x", np.uint8, np.shape(x))
    second, y = checked(z, "z", np.uint8, first.shape), np.empty(first.shape, np.uint8)
    library = library or native.load()
    if library:
        library.function("sum_u8")(address(first), address(second), first.size, *scales, shift, address(y))
        return y
    a, b, c = (np.float32(value) for value in (*scales, shift))
    y[...] = np.rint((first.astype(np.float32) * a + second.astype(np.float32) * b + c).clip(0, 255))
    return y


def keep_channels(x: Any, kept: Any, library: native.Library | None = None) -> Any:
    """Return x [h, w, channels], of 1, 2 or 4 bytes a value, with only the channels ``kept``.

    Raises:
        ValueError: an index is out of range.
    """
    image = x.detach().numpy() if hasattr(x, "detach") else np.asarray(x)
    checked(image, "x", image.dtype, (None, None, None))
    indices = np.ascontiguousarray(kept, np.int32)
    if indices.ndim != 1 or (len(indices) and not 0 <= indices.min() <= indices.max() < image.shape[2]):
        raise ValueError(f"kept are not indices below {image.shape[2]}: {indices.tolist()}")
    if image.itemsize not in (1, 2, 4):
        raise ValueError(f"x is {image.dtype}, of {image.itemsize} bytes a value")
    library = library or native.load()
    if not library:
        return like(x, np.ascontiguousarray(image[..., indices]))
    out = np.empty((*image.shape[:2], len(indices)), image.dtype)
    pixels = image.shape[0] * image.shape[1]
    library.function("keep_channels")(
        *(address(image), pixels, image.shape[2], address(indices), len(indices), image.itemsize, address(out))
    )
    return like(x, out)


def keep_nonzero(x: Any, library: native.Library | None = None) -> tuple[Array, Array]:
    """Return a bitmap, lowest bit first, and the values of x, uint8 of any shape, that are not zero."""
    flat = checked(np.asarray(x).reshape(-1), "x", np.uint8, (None,))
    library = library or native.load()
    if not library:
        return np.packbits(flat != 0, bitorder="little"), flat[flat != 0]
    bitmap, values = np.empty(-(-len(flat) // 8), np.uint8), np.empty(len(flat), np.uint8)
    count = library.function("keep_nonzero")(address(flat), len(flat), address(bitmap), address(values))
    return bitmap, values[:count]


def spread_nonzero(bitmap: Any, values: Any, shape: tuple[int, ...], library: native.Library | None = None) -> Array:
    """Return what :func:`keep_nonzero` was given, uint8 of ``shape``.

    Raises:
        ValueError: bitmap, values and shape do not belong together.

    >>> spread_nonzero(*keep_nonzero(np.array([[0, 7], [9, 0]], np.uint8)), (2, 2)).tolist()
    [[0, 7], [9, 0]]
    """
    size = int(np.prod(shape))
    bits = checked(bitmap, "bitmap", np.uint8, (-(-size // 8),))
    there = np.unpackbits(bits, bitorder="little")[:size].astype(bool)
    kept = checked(values, "values", np.uint8, (int(there.sum()),))
    library = library or native.load()
    out = np.zeros(size, np.uint8)
    if library:
        library.function("spread_nonzero")(address(bits), address(kept), size, address(out))
    else:
        out[there] = kept
    return out.reshape(shape)
