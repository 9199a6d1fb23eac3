"""DS-CNN: the depthwise-separable convolutional network for keyword spotting.

It is from Hello Edge (arXiv 1711.07128); the default sizes are those of MLPerf Tiny.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

STEM_KERNEL, STEM_PADDING = (10, 4), (5, 1)


def _pair(values: Sequence[int]) -> tuple[int, int]:
    first, second = values  # recipes give a list, PyTorch needs a tuple
    return first, second


def _length(size: int, kernel: int, stride: int, padding: int) -> int:
    return (size + 2 * padding - kernel) // stride + 1


def _conv(inputs: int, outputs: int, kernel: tuple[int, int], **kwargs: int | tuple[int, int]) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, bias=False, **kwargs),  # type: ignore[arg-type]
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def _separable_block(width: int, stride: tuple[int, int]) -> nn.Sequential:
    depthwise = _conv(width, width, (3, 3), stride=stride, padding=(1, 1), groups=width)
    return nn.Sequential(OrderedDict(depthwise=depthwise, pointwise=_conv(width, width, (1, 1))))


class DSCNN(nn.Module):
    """DS-CNN: a strided convolution, depthwise-separable blocks, average pooling, a linear layer.

    Args:
        num_classes: size of the output.
        input_shape: (1, frames, coefficients) of the front end.
        width: number of channels of every convolution; MLPerf Tiny uses 64.
        blocks: number of depthwise-separable blocks; MLPerf Tiny uses 4.
        dropout: share of values dropped before the linear layer.
        stem_stride: the stride of the first convolution, along frames and coefficients.
        first_stride: the stride of the first block.

    Hello Edge's DS-CNN-L is ``width=276, blocks=5, stem_stride=(2, 1), first_stride=(2, 2)``. It has 28.1 million
    multiply-accumulates. The paper's table says 56.9 million operations, with two operations per multiply-accumulate.

    The first convolution has a 10 x 4 kernel. It pads 5 frames and 1 coefficient on both sides, so that the exported
    graph needs no padding operator. TensorFlow's "same" pads 4 frames in front and 5 behind, and 1 coefficient on both
    sides. From 49 x 10 features, either padding gives 25 x 5 outputs at stride 2. At stride (2, 1), this network has
    25 x 9 outputs, and a network in TensorFlow has 25 x 10.

    >>> import torch
    >>> DSCNN(num_classes=12, input_shape=(1, 49, 10))(torch.zeros(2, 1, 49, 10)).shape
    torch.Size([2, 12])
    """

    def __init__(
        self,
        num_classes: int,
        input_shape: tuple[int, ...] = (1, 49, 10),
        width: int = 64,
        blocks: int = 4,
        dropout: float = 0.2,
        stem_stride: Sequence[int] = (2, 2),
        first_stride: Sequence[int] = (1, 1),
    ) -> None:
        super().__init__()
        channels, *size = input_shape
        self.stem = _conv(channels, width, STEM_KERNEL, stride=_pair(stem_stride), padding=STEM_PADDING)
        strides = [_pair(first_stride), *[(1, 1)] * (blocks - 1)]
        self.blocks = nn.Sequential(*(_separable_block(width, stride) for stride in strides))
        after_stem = map(_length, size, STEM_KERNEL, stem_stride, STEM_PADDING)
        rows, columns = map(_length, after_stem, (3, 3), first_stride, (1, 1))
        # A pooling with a fixed kernel is one operator on a neural processing unit; adaptive pooling may be several.
        self.pool = nn.AvgPool2d((rows, columns))
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        """Map features [N, 1, frames, coefficients] to logits [N, num_classes]."""
        hidden = self.pool(self.blocks(self.stem(features)))
        logits: Tensor = self.classifier(self.dropout(self.flatten(hidden)))
        return logits
