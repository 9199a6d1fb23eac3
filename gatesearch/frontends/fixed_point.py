"""Integer arithmetic of fixed-point front ends: Fourier transform, magnitude and logarithm, in numpy.

These functions are the reference of ``gatesearch/kernels/src/fixed_mel.c``, which computes the same numbers, bit for
bit. Values are int32 in C. Here they are int64, so that a product does not overflow. Every shift to the right rounds
down.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

ROOT_BITS = 30  # roots of unity are in units of 2^-30
LOG_BITS = 10  # logarithms are in units of 2^-10 octaves
_LOG_INDEX_BITS = 6  # bits after the leading 1 that select an entry of the table of logarithms
_LOG_FRACTION_BITS = 15  # entries of this table are in units of 2^-15 octaves
LOG_TABLE: Array = np.round(2**_LOG_FRACTION_BITS * np.log2(1 + np.arange(65) / 64)).astype(np.int64)
_ROOTS = np.round(np.sqrt(np.arange(130)) * 2**12).astype(np.int64)
ROOT_TABLE: Array = (_ROOTS[:-1] << 16) + np.diff(_ROOTS)
"""Entry i holds sqrt(i 2^24) in its high 16 bits, and the difference to the next entry's root in its low 16 bits."""
ROOT_TABLE[0] = 0


def rounded_high(a: Array, b: Array) -> Array:
    """Return a b / 2^32, rounded to the nearest integer; halves are rounded up."""
    return (a * b + (1 << 31)) >> 32


def roots_of_unity(angles: Array) -> Array:
    """Return cosines and sines of angles [...] in units of 2^-30, int64 [..., 2]."""
    return np.round(np.stack([np.cos(angles), np.sin(angles)], -1) * 2**ROOT_BITS).astype(np.int64)


def spans(points: int) -> tuple[int, ...]:
    """Return, for each pass after the first, the size of the transforms that the pass combines.

    The first pass computes transforms of four points. Each later pass combines four transforms, or the last one two.

    >>> spans(256), spans(512), spans(4)
    ((4, 16, 64), (4, 16, 64, 256), ())
    """
    sizes = []
    span = 4
    while span < points:
        sizes.append(span)
        span *= 4
    return tuple(sizes)


def input_order(points: int) -> Array:
    """Return the first point of each transform of four points, in the order of their results, int64 [points / 4].

    A transform of four points reads every (points / 4)-th point. A later pass combines neighbouring results, so the
    results have to be in digit-reversed order.

    >>> input_order(16).tolist(), input_order(8).tolist()
    ([0, 1, 2, 3], [0, 1])
    """
    if points == 4:
        return np.zeros(1, np.int64)
    radix = points // max(spans(points))
    part = input_order(points // radix)
    return np.concatenate([first + radix * part for first in range(radix)])


def pass_roots(points: int) -> Array:
    """Return the roots of unity of all passes after the first, int64 [n, 2].

    A pass that combines four transforms of ``span`` points reads, for each j < span, the roots exp(-2 pi i q j /
    (4 span)) for q = 1, 3, 2. A pass that combines two transforms reads exp(-pi i j / span).
    """
    tables = [np.zeros((0, 2), np.int64)]
    for span in spans(points):
        if 4 * span <= points:
            angles = np.pi / 2 / span * np.arange(span)[:, None] * np.array([1, 3, 2])
        else:
            angles = np.pi / span * np.arange(span)
        tables.append(roots_of_unity(-angles).reshape(-1, 2))
    return np.concatenate(tables)


def transform(values: Array, order: Array, roots: Array) -> Array:
    """Return the Fourier transform of complex values, divided by 4 in every pass after the first.

    The radix-4 algorithm decimates in time (Cooley and Tukey 1965). After each pass a value has at most the magnitude
    2^29.5, if no input exceeds 2^27.

    Args:
        values: real and imaginary parts, int64 [N, points, 2].
        order: see :func:`input_order`.
        roots: see :func:`pass_roots`.
    """
    count, points = values.shape[:2]
    parts = values.reshape(count, 4, points // 4, 2)[:, :, order]
    z = np.stack(_combine(*np.moveaxis(parts, 1, 0)), 2)
    first = 0
    for span in spans(points):
        radix = min(4, points // span)
        w = roots[first : first + (radix - 1) * span].reshape(span, radix - 1, 2)
        first += (radix - 1) * span
        groups = z.reshape(count, points // (radix * span), radix, span, 2)
        quarter = groups[:, :, 0] >> 2
        if radix == 4:
            b, d, c = (_multiply(groups[:, :, q], w[:, k]) for k, q in enumerate((1, 3, 2)))
            z = np.stack(_combine(quarter, b, c, d), 2)
        else:
            turned = _multiply(groups[:, :, 1], w[:, 0])
            z = np.stack([quarter + turned, quarter - turned], 2)
    return z.reshape(count, points, 2)


def _combine(a: Array, b: Array, c: Array, d: Array) -> list[Array]:
    """Return the Fourier transform of four complex values."""
    even, odd = (a + c, a - c), (b + d, b - d)
    turned = np.stack([odd[1][..., 1], -odd[1][..., 0]], -1)  # the second difference, times -i
    return [even[0] + odd[0], even[1] + turned, even[0] - odd[0], even[1] - turned]


def _multiply(z: Array, w: Array) -> Array:
    """Return the product of z and a root of unity w, divided by 4."""
    re = rounded_high(z[..., 0], w[..., 0]) + rounded_high(z[..., 1], -w[..., 1])
    im = rounded_high(z[..., 1], w[..., 0]) + rounded_high(z[..., 0], w[..., 1])
    return np.stack([re, im], -1)


def real_spectrum(z: Array, roots: Array, bins: int) -> Array:
    """Return half the spectrum of real values, from the transform of the even values + i (the odd values).

    Args:
        z: the transform, int64 [N, points, 2].
        roots: -i exp(-pi i k / points) for each bin k, in units of 2^-30, int64 [bins, 2].
        bins: number of bins of the spectrum, at most points + 1.
    """
    points = z.shape[1]
    k = np.arange(bins)
    ahead, back = z[:, k % points], z[:, -k % points] * np.array([1, -1])
    return ((ahead + back) >> 2) + _multiply(ahead - back, roots)


def magnitude(z: Array) -> Array:
    """Return the magnitudes of complex values below 2^30, within 0.02 %, int64 [...].

    Both parts are shifted to the left, so that the larger one has 30 bits. The sum of their squares then selects an
    entry of the table of square roots; the value between two entries is interpolated.
    """
    size = z ^ (z >> 63)
    shift = 29 - _highest_bit(size[..., 0] | size[..., 1])
    scaled = z << shift[..., None]
    power = (scaled * scaled >> 32).sum(-1)
    entry = ROOT_TABLE[power >> 22]
    return (entry + (entry & 0xFFFF) * (power >> 6 & 0xFFFF)) >> shift + 1


def logarithm(values: Array) -> Array:
    """Return binary logarithms of positive integers below 2^63 in units of 2^-10 octaves, within 0.001 octaves."""
    exponent = _highest_bit(values)
    down, up = np.maximum(exponent - 31, 0), np.maximum(31 - exponent, 0)
    mantissa = values >> down << up  # 32 bits with a leading 1
    index, rest = mantissa >> 25 & 63, mantissa >> 9 & 0xFFFF
    fraction = LOG_TABLE[index] + ((LOG_TABLE[index + 1] - LOG_TABLE[index]) * rest >> 16)
    drop = _LOG_FRACTION_BITS - LOG_BITS
    return (exponent << LOG_BITS) + ((fraction + (1 << drop - 1)) >> drop)


def headroom(samples: Array) -> Array:
    """Return the number of bits by which all int16 samples of a row can be shifted to the left, int64 [N], 0 to 15."""
    size = samples ^ (samples >> 63)
    return 14 - _highest_bit(size.max(-1))


def _highest_bit(values: Array) -> Array:
    """Return the index of the highest bit that is set; -1 for zero."""
    result = np.full(values.shape, -1, np.int64)
    rest = values.astype(np.uint64)
    for step in (32, 16, 8, 4, 2, 1):
        shift = np.where(rest >> np.uint64(step) > 0, step, 0)
        result += shift
        rest = rest >> shift.astype(np.uint64)
    return result + (rest > 0)
