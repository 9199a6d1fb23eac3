"""M-CifarNet: a convolutional network for CIFAR-10.

It is the network of Feature Boosting and Suppression (Gao et al. 2019, arXiv 1810.05331).
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

# Channels and stride of conv0 to conv7, from the authors' models/cifarnet.yaml.
LAYERS = ((64, 1), (64, 1), (128, 2), (128, 1), (128, 1), (192, 2), (192, 1), (192, 1))
DROPOUT_LAYERS = (3, 6)  # these convolutions are followed by dropout
MIN_UNPADDED_PIXELS = 32  # conv0 pads images with a shorter side


class MCifarNet(nn.Sequential):
    """Eight 3 x 3 convolutions with batch normalisation and ReLU, average pooling, a linear layer.

    The network maps images [N, *input_shape] to logits [N, num_classes]. At the defaults, it has 174.30 million
    multiply-accumulates and 1.294 million weights (1.296 million parameters with those of the normalisation).

    conv0 has no padding, so that 32 x 32 pixels become 30 x 30. For images with a side below 32 pixels, conv0 pads like
    the other layers. So an image of 8 x 8 pixels ends as maps of 2 x 2. Strided convolutions pad one pixel on every
    side. TensorFlow's "same" may pad one side only, but gives the same output shapes.

    Args:
        num_classes: size of the output.
        input_shape: (channels, height, width) of an image.
        width: factor on the number of channels of every layer; the product is rounded to a multiple of 16, or of 4 if
            it is below 16.
        dropout: share of values dropped behind conv3 and conv6.

    Raises:
        ValueError: the width is not above 0, or the input shape is not that of an image.

    >>> import torch
    >>> MCifarNet(10, (1, 8, 8), width=0.25)(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        num_classes: int = 10,
        input_shape: tuple[int, ...] = (3, 32, 32),
        width: float = 1.0,
        dropout: float = 0.5,
    ) -> None:
        if not width > 0:
            raise ValueError(f"width must be above 0, not {width:g}")
        if len(input_shape) != 3:
            raise ValueError(f"input_shape must be (channels, height, width), not {tuple(input_shape)}")
        channels, *size = input_shape
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        for i, (full, stride) in enumerate(LAYERS):
            padding = 0 if i == 0 and min(size) >= MIN_UNPADDED_PIXELS else 1
            outputs = scale_channels(full, width)
            block = [
                nn.Conv2d(channels, outputs, 3, stride, padding, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
            # Dropout is inside the block, so that the cut site after the block has the name of its convolution.
            parts[f"conv{i}"] = nn.Sequential(*block, *([nn.Dropout(dropout)] if i in DROPOUT_LAYERS else []))
            channels, size = outputs, [(side + 2 * padding - 3) // stride + 1 for side in size]
        # A pooling with a fixed kernel is one operator on a neural processing unit; adaptive pooling may be several.
        parts["pool"] = nn.AvgPool2d((size[0], size[1]))
        parts["flatten"] = nn.Flatten()
        parts["classifier"] = nn.Linear(channels, num_classes)
        super().__init__(parts)


def scale_channels(channels: int, width: float) -> int:
    """Return ``channels * width``, rounded to the nearest multiple of 16, or of 4 if the product is below 16.

    The result is at least 4.

    >>> [scale_channels(192, width) for width in (1.0, 0.6, 0.5, 0.0625, 0.001)]
    [192, 112, 96, 12, 4]
    """
    exact = channels * width
    step = 16 if exact >= 16 else 4
    return max(step, int(exact / step + 0.5) * step)
