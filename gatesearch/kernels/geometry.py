"""The shape of a convolution, in the forms that C, torch and numpy need."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from gatesearch.gates import BLOCK
from gatesearch.kernels.library import Shape

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Geometry:
    """The sizes of a convolution without groups on one image [h, w, c_in]; a matrix product is a 1 x 1 convolution.

    Args:
        image: height and width.
        c_in: channels of the image.
        c_out: channels of the output.
        kernel: height and width of the kernel.
        stride: vertical and horizontal stride.
        padding: rows of zeros at the top and at the bottom; columns of zeros at the left and at the right.
        dilation: vertical and horizontal dilation.

    Raises:
        ValueError: a size is not positive, or the output is empty.
    """

    image: Pair
    c_in: int
    c_out: int
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)

    def __post_init__(self) -> None:
        if min(*self.image, self.c_in, self.c_out, *self.kernel, *self.stride, *self.dilation) < 1:
            raise ValueError(f"sizes must be positive: {self}")
        if min(self.padding) < 0 or min(self.output) < 1:
            raise ValueError(f"the output is empty: {self}")
        if max(self.c_in, self.c_out) > 1024 * BLOCK:
            raise ValueError(f"more than {1024 * BLOCK} channels: {self}")

    @classmethod
    def from_shape(cls, shape: Iterable[int]) -> Geometry:
        """Return the geometry that the twelve numbers of a ``LayerSite.geometry`` or of a call's shape describe.

        >>> Geometry.from_shape((30, 20, 16, 32, 3, 3, 2, 1, 1, 1, 1, 1)).output
        (15, 20)
        """
        h, w, c_in, c_out, *pairs = (int(size) for size in shape)
        kernel, stride, padding, dilation = zip(pairs[::2], pairs[1::2], strict=True)
        return cls((h, w), c_in, c_out, kernel, stride, padding, dilation)

    @classmethod
    def from_layer(cls, layer: torch.nn.Conv2d, image: Pair) -> Geometry:
        """Return the geometry of a layer on an image of the given height and width.

        Raises:
            ValueError: the layer has groups, pads with other values than zeros, or has a padding such as "same".
        """
        if layer.groups != 1 or layer.padding_mode != "zeros" or isinstance(layer.padding, str):
            raise ValueError(f"no kernel for {layer}")
        pairs = [(int(a), int(b)) for a, b in (layer.kernel_size, layer.stride, layer.padding, layer.dilation)]
        return cls(image, layer.in_channels, layer.out_channels, *pairs)

    @property
    def output(self) -> Pair:
        """Height and width of the output.

        >>> Geometry((30, 30), 64, 128, (3, 3), (2, 2), (1, 1)).output
        (15, 15)
        """
        sizes = zip(self.image, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        height, width = ((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes)
        return height, width

    @property
    def weights(self) -> tuple[int, int, int, int]:
        """Shape of the weights in torch's order."""
        return self.c_out, self.c_in, *self.kernel

    @property
    def inner(self) -> int:
        """Multiply-accumulates of one output value."""
        return self.c_in * self.kernel[0] * self.kernel[1]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the dense convolution."""
        return self.output[0] * self.output[1] * self.c_out * self.inner

    @property
    def shape(self) -> tuple[int, ...]:
        """The twelve numbers that :meth:`from_shape` reads."""
        return (
            *self.image,
            self.c_in,
            self.c_out,
            *self.kernel,
            *self.stride,
            *self.padding,
            *self.dilation,
        )

    @property
    def c(self) -> Shape:
        """The same geometry as a C structure."""
        return Shape(*self.shape)

    def convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return the convolution of x [h, w, c_in], computed by torch, [h', w', c_out]."""
        image = x.movedim(-1, 0).unsqueeze(0)
        y = F.conv2d(image, weight, None, self.stride, self.padding, self.dilation)
        return y[0].movedim(0, -1)


def output_size(shape: Sequence[int]) -> Pair:
    """Return the output's height and width for a convolution or a pooling, from the twelve numbers of its shape.

    >>> output_size((8, 8, 16, 32, 3, 3, 2, 2, 1, 1, 1, 1))
    (4, 4)
    """
    h, w, _, _, kh, kw, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w = shape
    height = (h + 2 * pad_h - dilation_h * (kh - 1) - 1) // stride_h + 1
    width = (w + 2 * pad_w - dilation_w * (kw - 1) - 1) // stride_w + 1
    return height, width
