"""Splits an average pooling over a large window into a chain of poolings over small windows.

A mean over a window is a mean of means. So a pooling along both axes can be split into a pooling along one axis and one
along the other. If windows do not overlap, a pooling along one axis can be split as well: into a pooling over small
windows, and one over the means of these windows. A chain is faster, because engines have fast depthwise convolutions
only for few taps (values of a window). XNNPACK, LiteRT's library of kernels, has them for up to 25 taps. For windows of
[25, 5] over 64 channels, LiteRT takes 13.5 us with one convolution and 0.6 us with two. For an Ethos-U55, the compiler
Vela estimates 18,400 cycles for one convolution and 10,100 for two.
"""

from __future__ import annotations

from typing import NamedTuple

MAX_TAPS = 25  # taps of the largest specialised depthwise kernel of XNNPACK
NPU_STRIDES = (3, 2)  # strides above 1 that an Ethos-U has; a convolution with another stride runs on the CPU

Pair = tuple[int, int]


class Window(NamedTuple):
    """One average pooling; each pair holds a vertical and a horizontal number."""

    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)

    @property
    def taps(self) -> int:
        """Number of values in a window."""
        return self.kernel[0] * self.kernel[1]

    def effective_stride(self, image: Pair) -> Pair:
        """Return the stride, replaced by 1 along an axis on which the window has only one position.

        On such an axis, any stride gives the same result, but a neural processing unit runs only small strides.

        >>> Window((25, 5), (25, 5)).effective_stride((25, 10))
        (1, 5)
        """
        sizes = zip(image, self.kernel, self.stride, self.padding, strict=True)
        vertical, horizontal = (1 if n + 2 * p == k else s for n, k, s, p in sizes)
        return vertical, horizontal


def factor_window(window: Window) -> tuple[Window, ...]:
    """Return average poolings that, one after the other, compute the same mean.

    >>> [each.kernel for each in factor_window(Window((25, 5), (25, 5)))]
    [(25, 1), (1, 5)]
    >>> [(each.kernel, each.stride) for each in factor_window(Window((32, 4), (32, 4)))]
    [((2, 1), (2, 1)), ((16, 1), (16, 1)), ((1, 4), (1, 4))]
    """
    if window.taps <= MAX_TAPS:
        return (window,)
    (height, width), (stride_h, stride_w), (padding_h, padding_w) = window
    vertical = [Window((k, 1), (s, 1), (p, 0)) for k, s, p in _factor_axis(height, stride_h, padding_h)]
    horizontal = [Window((1, k), (1, s), (0, p)) for k, s, p in _factor_axis(width, stride_w, padding_w)]
    # An axis whose windows stay long comes last, because the pooling along the other axis first makes the map smaller.
    in_order = vertical + horizontal if vertical[-1].taps <= MAX_TAPS else horizontal + vertical
    return tuple(each for each in in_order if each.taps > 1 or each.stride != (1, 1) or each.padding != (0, 0))


def _factor_axis(size: int, stride: int, padding: int) -> list[tuple[int, int, int]]:
    """Return kernel, stride and padding of each pooling along one axis.

    If windows do not overlap, a mean is computed in two steps: first means of ``factor`` neighbouring values, and then
    a mean of ``size / factor`` of these means.
    """
    factors = []
    while stride == size > MAX_TAPS and (factor := next((f for f in NPU_STRIDES if size % f == 0), None)):
        factors.append((factor, factor, padding))
        size, stride, padding = size // factor, stride // factor, 0
    return [*factors, (size, stride, padding)]
