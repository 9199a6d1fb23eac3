"""Fixtures for the tests of the compiler: small gated stages, and their conversions to .tflite."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from gatesearch.compile import tflite


def pooled(hidden: Tensor, kernel: tuple[int, int]) -> Tensor:
    """Return the mean and the maximum of maps [N, C, H, W] over windows, flattened: [N, 2 C x remaining positions].

    The function uses only operators that every engine and a neural processing unit (NPU) can run.
    """
    maps = [functional.avg_pool2d(hidden, kernel), functional.max_pool2d(hidden, kernel)]
    if tuple(hidden.shape[2:]) == kernel:
        return torch.cat(maps, 1).flatten(1)
    return torch.cat([result.flatten(1) for result in maps], 1)


class GatedStage(nn.Module):
    """A convolution, a depthwise separable block and a gate; it returns the logit first, to test the outputs' order."""

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, channels, (10, 4), stride=2, padding=(5, 1), bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1),
            nn.ReLU(),
        )
        self.head = nn.Linear(2 * channels, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.body(x)
        return self.head(pooled(hidden, (25, 5))), hidden


class InputGate(nn.Module):
    """A gate at the input: its head pools the features over time, and the features pass unchanged."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(20, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, self.head(pooled(x, (49, 1)))


class Tail(nn.Module):
    """The end of a backbone: a convolution, adaptive pooling and a classifier."""

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classify = nn.Linear(channels, 12)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.classify(self.pool(self.conv(hidden)).flatten(1))


class Averages(nn.Module):
    """Computes the mean of each map by ``mean``, which an NPU cannot run."""

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden.mean((2, 3))


# A module, the samples that calibrated its int8 program, and its float and int8 programs.
@dataclass(frozen=True)
class Converted:
    module: nn.Module
    samples: np.ndarray  # float, channels first
    float_model: bytes
    int8_model: bytes

    def expected(self, sample: np.ndarray) -> tuple[np.ndarray, ...]:
        with torch.no_grad():
            returned = self.module(torch.from_numpy(sample[None]))
        outputs = returned if isinstance(returned, tuple) else (returned,)
        return tuple(tflite.channel_last(output.numpy()) for output in outputs)


def converted(module: nn.Module, shape: tuple[int, ...]) -> Converted:
    torch.manual_seed(0)
    samples = torch.randn(48, *shape)
    # Half of the samples are quiet, so the logit of a gate has two clusters, as in real use.
    samples[::2] *= 0.1
    with torch.no_grad():
        module.train()(samples)
    module.eval()
    model = tflite.convert(module, samples[:1])
    return Converted(module, samples.numpy(), model, tflite.quantise(model, tflite.channel_last(samples.numpy())))


@pytest.fixture(scope="session")
def stage() -> Converted:
    torch.manual_seed(1)
    return converted(GatedStage(), (1, 49, 10))


@pytest.fixture(scope="session")
def input_gate() -> Converted:
    torch.manual_seed(1)
    return converted(InputGate(), (1, 49, 10))


@pytest.fixture(scope="session")
def tail() -> Converted:
    torch.manual_seed(1)
    return converted(Tail(), (16, 25, 5))


@pytest.fixture(scope="session")
def vector() -> Converted:
    torch.manual_seed(1)
    return converted(nn.Sequential(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 3)), (20,))


@pytest.fixture(scope="session")
def averages() -> Converted:
    return converted(Averages(), (16, 25, 5))
