"""The networks of the ``counts`` benchmark, as functions that return a module and its input's shape.

``COUNTED`` are the networks whose multiply-accumulates are counted. ``PLANNED`` are the networks whose memory is
estimated.
"""

# mypy: ignore-errors
# torchvision and timm belong to no extra, so they are missing where types are checked.
from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatesearch.backbones import build
from results.counts.page import UNFITTED

Network = tuple[nn.Module, tuple[int, ...]]
IMAGE = (3, 64, 64)
TOKENS, WIDTH, HEADS = 10, 32, 4
ATTENTION_MACS = TOKENS * WIDTH * 4 * WIDTH + 2 * TOKENS * TOKENS * WIDTH


class Attention(nn.Module):
    """Self-attention on [N, T, d], with N samples of T tokens of d features.

    Args:
        spelling: the operators that compute the two products; a key of ``SPELLINGS``.
    """

    def __init__(self, spelling: str) -> None:
        super().__init__()
        self.spelling = spelling
        self.inward, self.outward = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Return the attention output, [N, T, d]."""
        batch, tokens, width = x.shape
        inner = width // HEADS
        q, k, v = self.inward(x).reshape(batch, tokens, 3, HEADS, inner).permute(2, 0, 3, 1, 4)
        return self.outward(SPELLINGS[self.spelling](q, k, v).transpose(1, 2).flatten(2))


def _batched(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    shape = q.shape
    q, k, v = (each.reshape(-1, *each.shape[2:]) for each in (q, k, v))
    return torch.bmm(torch.softmax(torch.bmm(q, k.mT) / shape[-1] ** 0.5, -1), v).view(shape)


def _einsum(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    weights = (torch.einsum("bhtd,bhsd->bhts", q, k) * q.shape[-1] ** -0.5).softmax(-1)
    return torch.einsum("bhts,bhsd->bhtd", weights, v)


SPELLINGS: Mapping[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "fused": F.scaled_dot_product_attention,
    "matmul": lambda q, k, v: torch.matmul(F.softmax(torch.matmul(q * q.shape[-1] ** -0.5, k.mT), -1), v),
    "@": lambda q, k, v: ((q @ k.mT) * q.shape[-1] ** -0.5).softmax(-1) @ v,
    "bmm": _batched,
    "einsum": _einsum,
}


class MultiheadAttention(nn.Module):
    """PyTorch's attention layer on [N, T, d]; inside, data are [N, T, d] with ``batch_first``, else [T, N, d]."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.batch_first = batch_first
        self.layer = nn.MultiheadAttention(WIDTH, HEADS, batch_first=batch_first)

    def forward(self, x: Tensor) -> Tensor:
        """Return the attention output, [N, T, d]."""
        x = x if self.batch_first else x.transpose(0, 1)
        output: Tensor = self.layer(x, x, x)[0]
        return output if self.batch_first else output.transpose(0, 1)


class Taps(nn.Module):
    """A chain of convolutions; all outputs are added at the end, so all of them stay in memory until then."""

    def __init__(self, stages: int = 6, channels: int = 16) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, channels, 3, padding=1)
        self.rest = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(stages))
        self.head = nn.Conv2d(channels, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return maps [N, 4, H, W] for images [N, 1, H, W]."""
        maps = [torch.relu(self.first(x))]
        for layer in self.rest:
            maps.append(torch.relu(layer(maps[-1])))
        total = maps[0]
        for one in maps[1:]:
            total = total + one
        return self.head(total)


class FixedBasis(nn.Module):
    """A product with a fixed matrix (a buffer of the module), an absolute value, and a linear layer."""

    basis: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("basis", torch.randn(256, 400))
        self.head = nn.Linear(400, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs [N, 4] for vectors [N, 256]."""
        return self.head((x @ self.basis).abs())


class First(nn.Module):
    """A recurrent layer that returns its output without its state."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Return the output for sequences [N, T, features]."""
        return self.layer(x)[0]


def _backbone(name: str, shape: tuple[int, ...]) -> Callable[[], Network]:
    return lambda: (build(name, num_classes=4, input_shape=shape, args={}), shape)


def _vision(name: str, **args: object) -> Callable[[], Network]:
    def make() -> Network:
        from torchvision import models

        return getattr(models, name)(num_classes=10, **args), IMAGE

    return make


def _timm(name: str, side: int = 64, **args: object) -> Callable[[], Network]:
    def make() -> Network:
        import timm

        return timm.create_model(name, num_classes=10, **args), (3, side, side)

    return make


def _layers(shape: tuple[int, ...], *layers: Callable[[], nn.Module]) -> Callable[[], Network]:
    return lambda: (nn.Sequential(*(layer() for layer in layers)), shape)


_small = {
    "three convolutions": _layers(
        (3, 48, 48),
        lambda: nn.Conv2d(3, 32, 3, 2, 1), lambda: nn.BatchNorm2d(32), nn.ReLU,
        lambda: nn.Conv2d(32, 64, 3, 2, 1), lambda: nn.BatchNorm2d(64), nn.ReLU6,
        lambda: nn.Conv2d(64, 64, 3, 2, 1), nn.ReLU,
        lambda: nn.AdaptiveAvgPool2d(1), nn.Flatten, lambda: nn.Linear(64, 10),
    ),
    "LeNet": _layers(
        (1, 28, 28),
        lambda: nn.Conv2d(1, 16, 5), nn.ReLU, lambda: nn.MaxPool2d(2),
        lambda: nn.Conv2d(16, 32, 5), nn.ReLU, lambda: nn.MaxPool2d(2),
        nn.Flatten, lambda: nn.Linear(512, 64), nn.ReLU, lambda: nn.Linear(64, 10),
    ),
    "perceptron": _layers(
        (64,),
        lambda: nn.Linear(64, 128), nn.ReLU, lambda: nn.Linear(128, 128), nn.ReLU, lambda: nn.Linear(128, 10),
    ),
    "one convolution": _layers(
        (1, 8, 8), lambda: nn.Conv2d(1, 8, 3), nn.ReLU, nn.Flatten, lambda: nn.Linear(288, 4)
    ),
}  # fmt: skip
_large = {
    "mobilenet_v2": _vision("mobilenet_v2", width_mult=0.25),
    "mobilenet_v3_small": _vision("mobilenet_v3_small"),
    "squeezenet1_1": _vision("squeezenet1_1"),
    "resnet18": _vision("resnet18"),
    "mnasnet0_5": _vision("mnasnet0_5"),
    "shufflenet_v2_x0_5": _vision("shufflenet_v2_x0_5"),
    "lcnet_050": _timm("lcnet_050"),
    "mobilenetv3_small_050": _timm("mobilenetv3_small_050"),
    "efficientnet_lite0": _timm("efficientnet_lite0"),
    "resnet10t": _timm("resnet10t"),
    "tinynet_e": _timm("tinynet_e"),
}
_unfitted = {name: _timm(name) for name in UNFITTED}
_ours = {
    "ds_cnn": _backbone("ds_cnn", (1, 49, 10)),
    "resnet20": _backbone("resnet20", (3, 32, 32)),
    "m_cifarnet": _backbone("m_cifarnet", (3, 32, 32)),
    "codec": _backbone("codec", (1, 256, 1)),
}

PLANNED: Mapping[str, Callable[[], Network]] = {
    "six skips": lambda: (Taps(), (1, 16, 16)),
    "basis in a buffer": lambda: (FixedBasis(), (256,)),
    **_small, **_ours, **_large, **_unfitted,
}  # fmt: skip

# Each network with its multiply-accumulates, counted by hand; None if torch.utils.flop_counter counts all of them.
COUNTED: Mapping[str, tuple[Callable[[], Network], int | None]] = {
    **{name: (network, None) for name, network in {**_small, **_large}.items()},
    **{name: (_ours[name], None) for name in ("ds_cnn", "resnet20", "m_cifarnet")},
    "kwt": (_backbone("kwt", (1, 98, 40)), None),
    "semnasnet_050": (_unfitted["semnasnet_050"], None),
    "mobilevit_xxs": (_timm("mobilevit_xxs"), None),
    "regnetx_002": (_unfitted["regnetx_002"], None),
    "test_vit": (_timm("test_vit", 160), None),
    "mixer of patches": (_timm("mixer_s32_224", 224), None),
    **{
        f"attention, {name}": (lambda name=name: (Attention(name), (TOKENS, WIDTH)), ATTENTION_MACS)
        for name in SPELLINGS
    },
    "attention, batch first": (lambda: (MultiheadAttention(True), (TOKENS, WIDTH)), ATTENTION_MACS),
    "attention, batch as second axis": (lambda: (MultiheadAttention(False), (TOKENS, WIDTH)), ATTENTION_MACS),
    "transformer layer": (
        _layers((TOKENS, WIDTH), lambda: nn.TransformerEncoderLayer(WIDTH, HEADS, 64, batch_first=True)),
        ATTENTION_MACS + 2 * TOKENS * WIDTH * 64,
    ),
    "lstm, 49 steps": (lambda: (First(nn.LSTM(10, 118, batch_first=True)), (49, 10)), 49 * 4 * 118 * (10 + 118)),
    "gru, bidirectional": (
        lambda: (First(nn.GRU(6, 8, num_layers=2, bidirectional=True, batch_first=True)), (5, 6)),
        5 * 2 * 3 * 8 * ((6 + 8) + (16 + 8)),
    ),
    "grouped": (_layers((8, 9, 9), lambda: nn.Conv2d(8, 12, 3, groups=4)), 7 * 7 * 12 * 2 * 9),
    "depthwise": (_layers((8, 9, 9), lambda: nn.Conv2d(8, 8, 3, groups=8)), 7 * 7 * 8 * 9),
    "transposed": (_layers((8, 9, 9), lambda: nn.ConvTranspose2d(8, 4, 3, stride=2)), 9 * 9 * 8 * 4 * 9),
    "1-D": (_layers((8, 30), lambda: nn.Conv1d(8, 16, 5, stride=2)), 13 * 16 * 8 * 5),
    "transposed, 1-D": (_layers((8, 30), lambda: nn.ConvTranspose1d(8, 4, 3, groups=2)), 30 * 8 * 2 * 3),
    "3-D": (_layers((2, 6, 8, 8), lambda: nn.Conv3d(2, 4, 3)), 4 * 6 * 6 * 4 * 2 * 27),
}
