"""Random networks over a time axis; weights are small integers, so sums in any order are equal."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

BINS = 3


class Residual(nn.Module):
    """x + layer(x), for a layer without padding; x loses the same frames as the layer's output."""

    def __init__(self, layer: nn.Module, lost_frames: int) -> None:
        super().__init__()
        self.layer, self.lost_frames = layer, lost_frames

    def forward(self, x: Tensor) -> Tensor:
        first = self.lost_frames // 2
        return x[:, :, first : x.shape[2] - (self.lost_frames - first)] + self.layer(x)


class Branches(nn.Module):
    """Two layers side by side, joined along the channels."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.first(x), self.second(x)], dim=1)


class Last(nn.Module):
    """A layer that returns the last frame."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, -1]


class Mean(nn.Module):
    """A layer that returns the mean over time."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(2)


class Largest(nn.Module):
    """A layer that returns the largest value over time, after a reshape to a fixed number of frames."""

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], x.shape[1], x.shape[2], -1).amax(2)


class Recurrent(nn.Module):
    """A recurrent layer over [N, C, T] or [N, C, T, bins], which returns its last output."""

    def __init__(self, kind: str, channels: int, flat: bool = True) -> None:
        super().__init__()
        self.flat = flat
        cells: dict[str, type[nn.RNNBase]] = {"gru": nn.GRU, "lstm": nn.LSTM}
        self.rnn = cells[kind](channels, 4, num_layers=2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        output, _ = self.rnn(x.transpose(1, 2) if self.flat else x.mean(3).permute(0, 2, 1))
        return output[:, -1]


ENDS = ("mean", "largest", "last", "flatten", "pool")


@st.composite
def networks(draw: Any, ends: tuple[str, ...] = ENDS, max_layers: int = 4) -> tuple[nn.Module, tuple[int, ...], int]:
    """Draw a network; return it, the shape of a window, and the product of the network's strides in time."""
    flat = draw(st.booleans())
    frames = draw(st.integers(16, 28))
    channels = draw(st.integers(1, 3))
    shape = (channels, frames) if flat else (channels, frames, BINS)
    layers: list[nn.Module] = []
    stride = 1
    x = torch.zeros(2, *shape)
    for kind in draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=max_layers)):
        layer, layer_stride = _layer(draw, kind, x.shape[1], flat)
        if x.shape[2] < 9:
            break
        layers.append(layer.eval())
        stride *= layer_stride
        x = layer(x)
    end = draw(st.sampled_from(ends))
    layers.append(_end(end, x))
    network = nn.Sequential(*layers).eval()
    if end not in ("gru", "lstm"):
        use_integers(network, draw(st.integers(0, 2**16)))
    return network, shape, stride


KINDS = ("conv", "depthwise", "strided", "dilated", "relu", "norm", "max", "average", "residual", "branches")


def _layer(draw: Any, kind: str, channels: int, flat: bool) -> tuple[nn.Module, int]:
    """Return a layer and its stride in time."""
    kernel = draw(st.integers(1, 4))
    stride = draw(st.integers(2, 3)) if kind == "strided" else 1
    conv: Any = nn.Conv1d if flat else nn.Conv2d

    def sized(time: int, bins: int) -> Any:
        return time if flat else (time, bins)

    bins = dict(padding=sized(0, 1))  # padding along the bins is allowed
    if kind in ("relu", "norm"):
        return nn.ReLU() if kind == "relu" else (nn.BatchNorm1d if flat else nn.BatchNorm2d)(channels, eps=0.0), 1
    if kind in ("max", "average"):
        pools: Any = {"max": (nn.MaxPool1d, nn.MaxPool2d), "average": (nn.AvgPool1d, nn.AvgPool2d)}[kind]
        own_stride = draw(st.integers(1, 2))
        return pools[not flat](sized(2, 1), stride=sized(own_stride, 1)), own_stride
    if kind == "depthwise":
        return conv(channels, 2 * channels if channels < 3 else channels, sized(kernel, 3), groups=channels, **bins), 1
    if kind == "dilated":
        return conv(channels, 2, sized(2, 3), dilation=sized(kernel, 1), **bins), 1
    if kind == "residual":
        return Residual(conv(channels, channels, sized(kernel, 3), **bins), kernel - 1), 1
    if kind == "branches":
        return Branches(*(conv(channels, 1, sized(kernel, 3), **bins) for _ in range(2))), 1
    return conv(channels, draw(st.integers(1, 3)), sized(kernel, 3), stride=sized(stride, 1), **bins), stride


def _end(kind: str, x: Tensor) -> nn.Module:
    if kind == "flatten":
        return nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 2))
    if kind == "pool":
        return nn.AvgPool1d(x.shape[2]) if x.ndim == 3 else nn.AvgPool2d((x.shape[2], 1))
    if kind in ("gru", "lstm"):
        return Recurrent(kind, x.shape[1], flat=x.ndim == 3)
    return {"mean": Mean, "largest": Largest, "last": Last}[kind]()


@torch.no_grad()
def use_integers(network: nn.Module, seed: int) -> None:
    """Set weights, biases and running means to small integers."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in network.named_parameters():
        del name
        value.copy_(torch.randint(-2, 3, value.shape, generator=generator))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.running_mean is not None
            module.running_mean.copy_(torch.randint(-2, 3, module.running_mean.shape, generator=generator))


def integers(shape: tuple[int, ...], seed: int) -> Tensor:
    """Return an input [1, *shape] of small integers."""
    return torch.randint(-3, 4, (1, *shape), generator=torch.Generator().manual_seed(seed)).double()
