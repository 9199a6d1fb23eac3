"""The reference networks of MLPerf Tiny (Banbury et al. 2021, arXiv 2106.07597), whose times on boards are published.

Each network is in evaluation mode, with its batch normalisations folded into the layers before them, as every
submission runs it. The layers are those of github.com/mlcommons/tiny, folder ``benchmark/training``. At stride 2,
TensorFlow pads one row and one column behind the image, and PyTorch pads them before it; the kernel calls are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, fx, nn

from gatesearch.backbones import build
from gatesearch.compile.fold import fold_batch_norms

FRAMES, BANDS, WORDS = 30, 40, 3  # input and output of the streaming wake word's network


class ShortcutBlock(nn.Module):
    """Two 3 x 3 convolutions with a shortcut; where the stride is 2, the shortcut is a 1 x 1 convolution.

    Args:
        inputs: number of input channels.
        outputs: number of output channels.
        stride: the stride of the first convolution and of the shortcut.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1),
        )
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride) if stride > 1 else nn.Identity()
        self.relu = nn.ReLU()

    def forward(self, hidden: Tensor) -> Tensor:
        """Map [N, inputs, H, W] to [N, outputs, H/stride, W/stride]."""
        out: Tensor = self.relu(self.body(hidden) + self.shortcut(hidden))
        return out


def image_classifier() -> nn.Module:
    """Return ResNet-8 for 10 classes: one block in each of three stages, of 16, 32 and 64 channels."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 1, 1),
        nn.ReLU(),
        ShortcutBlock(16, 16, 1),
        ShortcutBlock(16, 32, 2),
        ShortcutBlock(32, 64, 2),
        nn.AvgPool2d(8),
        nn.Flatten(),
        nn.Linear(64, 10),
        nn.Softmax(1),
    )


def person_detector() -> nn.Module:
    """Return MobileNetV1 with a quarter of the channels, for two classes of images of 96 x 96 pixels."""
    layers: list[nn.Module] = [nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU()]
    channels = 8
    for outputs, stride in ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *[(128, 1)] * 5, (256, 2), (256, 1)):
        layers += [nn.Conv2d(channels, channels, 3, stride, 1, groups=channels), nn.ReLU()]
        layers += [nn.Conv2d(channels, outputs, 1), nn.ReLU()]
        channels = outputs
    return nn.Sequential(*layers, nn.AvgPool2d(3), nn.Flatten(), nn.Linear(channels, 2), nn.Softmax(1))


def anomaly_detector() -> nn.Module:
    """Return the autoencoder of linear layers, with 8 values in its narrowest layer."""
    sizes = [640, *[128] * 4, 8, *[128] * 4, 640]
    layers = [layer for inputs, outputs in pairwise(sizes) for layer in (nn.Linear(inputs, outputs), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def keyword_spotter() -> nn.Module:
    """Return DS-CNN for 12 classes: the shipped backbone ``ds_cnn``, with folded batch normalisations."""
    net = fx.symbolic_trace(build("ds_cnn", num_classes=12, input_shape=(1, 49, 10), args={}).eval())
    for block in net.modules():
        fold_batch_norms(block)
    return nn.Sequential(net, nn.Softmax(1))


def wake_word_detector() -> nn.Module:
    """Return the streaming reference of v1.3: separable convolutions over time, on 30 frames of 40 filter banks.

    Depthwise kernels have 3, 5, 10 and 15 frames, without padding, so that one frame remains. The sizes are those of
    the reference submission (``sww_ref_l4r5zi/X-CUBE-AI/App/sww_model.c``). Input is [N, 40, 30, 1].
    """
    layers: list[nn.Module] = []
    channels = BANDS
    for kernel, outputs in ((3, 128), (5, 128), (10, 128), (15, 32)):
        layers += [nn.Conv2d(channels, channels, (kernel, 1), groups=channels)]
        layers += [nn.Conv2d(channels, outputs, 1), nn.ReLU()]
        channels = outputs
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels, WORDS), nn.Softmax(1))


@dataclass(frozen=True)
class Reference:
    """A reference network.

    Args:
        title: name of the network on the page.
        make: function that returns the network.
        shape: shape of its input, without the batch.
        macs: multiply-accumulates of its reference implementation.
    """

    title: str
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    macs: int

    def network(self) -> nn.Module:
        """Return the network in evaluation mode, with untrained weights."""
        return self.make().eval()

    def weight_bytes(self) -> int:
        """Return the bytes of its int8 weights, without biases."""
        return sum(weight.numel() for weight in self.network().parameters() if weight.ndim > 1)


# By the task names of MLPerf Tiny.
NETWORKS: Mapping[str, Reference] = {
    "ad": Reference("autoencoder", anomaly_detector, (640,), 264_192),
    "ic": Reference("ResNet-8", image_classifier, (3, 32, 32), 12_501_632),
    "kws": Reference("DS-CNN", keyword_spotter, (1, 49, 10), 2_656_768),
    "vww": Reference("MobileNetV1 x 0.25", person_detector, (3, 96, 96), 7_489_664),
}
WAKE_WORD = Reference("1-D DS-CNN", wake_word_detector, (BANDS, FRAMES, 1), 826_368)
