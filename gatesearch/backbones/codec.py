"""A small neural audio codec after SoundStream (Zeghidour et al. 2021, arXiv 2107.03312).

The codec consists of a causal convolutional encoder, a residual vector quantiser and a mirrored decoder. It differs
from the paper, so that it trains within minutes and runs in int8. It is far smaller and has no discriminator. In each
encoder block, the strided convolution comes before the residual units. ReLU replaces ELU. The kernel of a transposed
convolution is as long as its stride.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from gatesearch.backbones.quantiser import ResidualQuantiser

STEM_KERNEL, LAST_KERNEL = 3, 7  # kernel sizes of the decoder's first and last convolution


def causal(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Return a causal convolution over time, [N, inputs, T, 1] to [N, outputs, T / stride, 1].

    An output depends on no later input. All padding (kernel - stride zeros) is in front.
    """
    padding = nn.ZeroPad2d((0, 0, kernel - stride, 0))
    return nn.Sequential(
        padding, nn.Conv2d(inputs, outputs, (kernel, 1), (stride, 1), bias=False), nn.BatchNorm2d(outputs)
    )


class Unit(nn.Module):
    """A causal residual unit: x + f(x), where f has two convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.wide = causal(channels, channels, 3)
        self.point = nn.Sequential(nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels))
        self.relu, self.out = nn.ReLU(), nn.ReLU()

    def forward(self, hidden: Tensor) -> Tensor:
        """Map [N, C, T, 1] to the same shape."""
        out: Tensor = self.out(hidden + self.point(self.relu(self.wide(hidden))))
        return out


class Codec(nn.Module):
    """Encodes waveforms [N, 1, S, 1] into few bits and reconstructs them.

    Args:
        input_shape: shape of a waveform, (1, S, 1); S is a multiple of the product of all strides.
        width: number of channels behind the first stride; it doubles with each further stride.
        strides: strides of the encoder, from the input on; the decoder has them in reverse order.
        units: number of residual units in each block.
        dimension: dimension of the quantised vectors.
        levels: number of codebooks.
        codes: number of codewords in each codebook.

    Raises:
        ValueError: the input is no waveform, or its length is no multiple of the product of all strides.

    >>> import torch
    >>> codec = Codec((1, 512, 1), width=4)
    >>> codec(torch.zeros(2, 1, 512, 1)).shape, codec.bits_per_second(8000)
    (torch.Size([2, 1, 512, 1]), 3000.0)
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        width: int = 16,
        strides: Sequence[int] = (4, 4, 4),
        units: int = 1,
        dimension: int = 32,
        levels: int = 4,
        codes: int = 64,
    ) -> None:
        super().__init__()
        stride = math.prod(strides)
        if len(input_shape) != 3 or input_shape[0] != 1 or input_shape[2] != 1 or input_shape[1] % stride:
            raise ValueError(f"input_shape must be (1, S, 1), S a multiple of {stride}, not {tuple(input_shape)}")
        self.stride = stride
        channels = [1, *(width * 2**i for i in range(len(strides)))]
        down = [
            nn.Sequential(causal(before, after, 2 * s, s), nn.ReLU(), *(Unit(after) for _ in range(units)))
            for before, after, s in zip(channels, channels[1:], strides, strict=False)
        ]
        self.encoder = nn.Sequential(*down, nn.Conv2d(channels[-1], dimension, 1))
        self.quantiser = ResidualQuantiser(dimension, levels, codes)
        channels[0] = width // 2
        up = [
            nn.Sequential(
                *(Unit(before) for _ in range(units)), nn.ConvTranspose2d(before, after, (s, 1), (s, 1)), nn.ReLU()
            )
            for before, after, s in zip(channels[:0:-1], channels[-2::-1], reversed(strides), strict=True)
        ]
        stem = nn.Sequential(causal(dimension, channels[-1], STEM_KERNEL), nn.ReLU())
        blocks = {str(i): block for i, block in enumerate(up)}
        self.decoder = nn.Sequential(OrderedDict(stem=stem, **blocks, last=causal(channels[0], 1, LAST_KERNEL)[:2]))

    def bits_per_second(self, sample_rate: int) -> float:
        """Return the number of bits per second of the quantised vectors."""
        return self.quantiser.bits * sample_rate / self.stride

    def forward(self, waves: Tensor) -> Tensor:
        """Encode, quantise and decode waveforms [N, 1, S, 1]."""
        decoded: Tensor = self.decoder(self.quantiser(self.encoder(waves)))
        return decoded
