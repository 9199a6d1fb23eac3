"""The Fourier transform of the front end ``micro``: 16 bits, radix 4, with the rounding of Kiss FFT.

TensorFlow's microfrontend computes its spectrum with Kiss FFT in 16-bit fixed point. The functions here round at the
same places, so the results are equal, bit for bit. The frames are the last axis of each array, because all frames
share the roots of unity.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

LARGEST = 32767  # the number that stands for 1 in 16 bits
FRACTION_BITS = 15


class Complex(NamedTuple):
    """Real and imaginary parts, int32, of the same shape."""

    re: Array
    im: Array


def real_spectrum(samples: Array, bins: int) -> Complex:
    """Return the first bins of the spectrum of real samples, divided by their number.

    Args:
        samples: int16 values in int32, [points, frames]; the number of points is 2 times a power of 4.
        bins: number of bins of the result, at most points / 2.
    """
    half = len(samples) // 2
    z = transform(Complex(samples[0::2], samples[1::2]))
    k = np.arange(1, half // 2 + 1)
    ahead = _divide(Complex(z.re[k], z.im[k]), 2)
    back = _divide(Complex(z.re[half - k], -z.im[half - k]), 2)
    total = Complex(ahead.re + back.re, ahead.im + back.im)
    # exp(-pi i (k / half + 1/2)) separates the spectra of even and odd samples.
    turned = _multiply(Complex(ahead.re - back.re, ahead.im - back.im), _roots(-np.pi * (k / half + 0.5)))
    constant = _divide(Complex(z.re[:1], z.im[:1]), 2)
    mirrored = slice(-2, None, -1)  # bins half - k, which round in another way; bin half / 2 is its own mirror image
    re = [constant.re + constant.im, (total.re + turned.re) >> 1, (total.re - turned.re)[mirrored] >> 1]
    im = [np.zeros_like(constant.im), (total.im + turned.im) >> 1, (turned.im - total.im)[mirrored] >> 1]
    return Complex(np.concatenate(re)[:bins], np.concatenate(im)[:bins])


def transform(values: Complex) -> Complex:
    """Return the Fourier transform of complex values [points, frames], divided by the number of points, a power of 4.

    The algorithm decimates in time (Cooley and Tukey 1965). Each pass divides by 4 before it adds, so nothing
    overflows.
    """
    points = len(values.re)
    order = _digit_reversal(points)
    z = Complex(values.re[order], values.im[order])
    span = 1
    while span < points:
        z = _combine(z, span)
        span *= 4
    return z


def _combine(z: Complex, span: int) -> Complex:
    """Combine each four neighbouring transforms of ``span`` points into one."""
    points = len(z.re)
    shape = (points // (4 * span), 4, span, -1)
    z = _divide(z, 4)
    parts = Complex(z.re.reshape(shape), z.im.reshape(shape))
    a = Complex(parts.re[:, 0], parts.im[:, 0])
    j = np.arange(span)
    b, c, d = (
        _multiply(Complex(parts.re[:, q], parts.im[:, q]), _roots(-2 * np.pi * q * (points // (4 * span)) * j / points))
        for q in (1, 2, 3)
    )
    even, odd = Complex(a.re + c.re, a.im + c.im), Complex(a.re - c.re, a.im - c.im)
    both, apart = Complex(b.re + d.re, b.im + d.im), Complex(b.re - d.re, b.im - d.im)
    re = [even.re + both.re, odd.re + apart.im, even.re - both.re, odd.re - apart.im]
    im = [even.im + both.im, odd.im - apart.re, even.im - both.im, odd.im + apart.re]
    return Complex(np.stack(re, 1).reshape(points, -1), np.stack(im, 1).reshape(points, -1))


def _digit_reversal(points: int) -> Array:
    """Return the order in which a transform of radix 4 reads its input: the digits of the indices, reversed.

    >>> _digit_reversal(16).tolist()
    [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15]
    """
    order = np.zeros(1, np.int64)
    while len(order) < points:
        order = (4 * order + np.arange(4)[:, None]).ravel() if len(order) > 1 else np.arange(4)
    return order


def _roots(angles: Array) -> Complex:
    """Return cosines and sines of angles [n] in units of 1 / 32767, rounded to the nearest integer, int32 [n, 1]."""
    parts = (np.floor(0.5 + LARGEST * f(angles)).astype(np.int32)[:, None] for f in (np.cos, np.sin))
    return Complex(*parts)


def _multiply(z: Complex, w: Complex) -> Complex:
    """Return the product of values and roots of unity, rounded."""
    return Complex(_round(z.re * w.re - z.im * w.im), _round(z.re * w.im + z.im * w.re))


def _divide(z: Complex, divisor: int) -> Complex:
    """Return values divided by 2 or 4; as in Kiss FFT, this is a product with a rounded fraction."""
    fraction = LARGEST // divisor
    return Complex(_round(z.re * fraction), _round(z.im * fraction))


def _round(products: Array) -> Array:
    return (products + (1 << FRACTION_BITS - 1)) >> FRACTION_BITS
