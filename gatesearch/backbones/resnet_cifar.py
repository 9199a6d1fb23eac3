"""Residual networks for CIFAR-10 (He et al. 2016, arXiv 1512.03385, section 4.2)."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn


class Shortcut(nn.Module):
    """The paper's shortcut without parameters (option A): stride 2 drops rows and columns, new channels are zeros.

    Args:
        inputs: number of input channels.
        outputs: number of output channels, at most three times ``inputs``. Half of the new channels come before the
            input's channels, the other half after them.
        stride: 1 or 2.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        # Pooling over one pixel returns the same values as a strided slice, and neural processing units support it.
        self.subsample = nn.AvgPool2d(1, stride) if stride > 1 else nn.Identity()
        new = outputs - inputs
        self.front, self.back = new // 2, new - new // 2

    def forward(self, hidden: Tensor) -> Tensor:
        """Map [N, inputs, H, W] to [N, outputs, H/stride, W/stride]."""
        smaller: Tensor = self.subsample(hidden)
        if not self.front + self.back:
            return smaller
        # Export would surround F.pad over channels with transpositions; it does not do so for a concatenation.
        zeros = torch.zeros_like(smaller)
        return torch.cat([zeros[:, : self.front], smaller, zeros[:, : self.back]], 1)


class Block(nn.Module):
    """Two 3 x 3 convolutions with a shortcut; a ReLU follows the first convolution and the sum."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = Shortcut(inputs, outputs, stride)
        self.relu2 = nn.ReLU()

    def forward(self, hidden: Tensor) -> Tensor:
        """Map [N, inputs, H, W] to [N, outputs, H/stride, W/stride]."""
        residual = self.norm2(self.conv2(self.relu1(self.norm1(self.conv1(hidden)))))
        out: Tensor = self.relu2(residual + self.shortcut(hidden))
        return out


class ResNetCifar(nn.Module):
    """ResNet of depth 6n + 2: a stem, three stages of n blocks, global average pooling, a linear layer.

    All weights are initialised as in He et al. 2015 (``kaiming_normal_``), including those of the linear layer.

    Args:
        num_classes: size of the output.
        input_shape: (channels, height, width) of an image.
        depth: number of weighted layers; 20, 32, 44, 56 or 110 in the paper.
        width: number of channels of the first stage; the others have twice and four times as many.

    Raises:
        ValueError: the depth is not 6n + 2, or the input is no image.

    >>> import torch
    >>> ResNetCifar(depth=8, width=4)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        num_classes: int = 10,
        input_shape: tuple[int, ...] = (3, 32, 32),
        depth: int = 20,
        width: int = 16,
    ) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 2, 6)
        if rest or blocks < 1:
            raise ValueError(f"depth must be 8, 14, 20, ... (6n + 2), not {depth}")
        if len(input_shape) != 3:
            raise ValueError(f"input_shape must be (channels, height, width), not {tuple(input_shape)}")
        channels, rows, columns = input_shape
        self.stem = nn.Sequential(
            OrderedDict(
                conv=nn.Conv2d(channels, width, 3, padding=1, bias=False),
                norm=nn.BatchNorm2d(width),
                relu=nn.ReLU(),
            )
        )
        self.stage1 = _stage(width, width, 1, blocks)
        self.stage2 = _stage(width, 2 * width, 2, blocks)
        self.stage3 = _stage(2 * width, 4 * width, 2, blocks)
        # A pooling with a fixed kernel is one operator on a neural processing unit; adaptive pooling may be several.
        self.pool = nn.AvgPool2d(((rows + 3) // 4, (columns + 3) // 4))
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(4 * width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [N, *input_shape] to logits [N, num_classes]."""
        hidden = self.stage3(self.stage2(self.stage1(self.stem(images))))
        logits: Tensor = self.classifier(self.flatten(self.pool(hidden)))
        return logits


def _stage(inputs: int, outputs: int, stride: int, blocks: int) -> nn.Sequential:
    first = Block(inputs, outputs, stride)
    return nn.Sequential(first, *(Block(outputs, outputs, 1) for _ in range(blocks - 1)))


def resnet20(num_classes: int = 10, input_shape: tuple[int, ...] = (3, 32, 32), width: int = 16) -> ResNetCifar:
    """Return ResNet-20, with 40.55 million multiply-accumulates and 0.27 million parameters at the defaults.

    :class:`ResNetCifar` explains the arguments.
    """
    return ResNetCifar(num_classes, input_shape, 20, width)
