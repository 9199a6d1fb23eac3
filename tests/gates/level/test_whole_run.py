"""Tests a whole run with a level gate before a network that reads waveforms, up to its verified bundle.

A level gate compares a statistic of the signal, such as its level, with a threshold.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import gatesearch
from gatesearch.data import Dataset, Split
from tests.pipeline.small_run import SETTINGS

SAMPLES = 3840


def waves(seed: int = 0) -> Dataset:
    """Return a data set of bursts of a low or a high tone in noise, and of steady noise; int16 [N, samples]."""
    generator = torch.Generator().manual_seed(seed)

    def split(count: int) -> Split:
        labels = torch.arange(count) % 3
        noise = 300 * torch.randn(count, SAMPLES, generator=generator)
        loudness, length = (
            2000 + 8000 * torch.rand(count, 1, generator=generator),
            torch.rand(count, 1, generator=generator),
        )
        pitch = torch.tensor([0.1, 0.4, 0.0])[labels][:, None]
        times = torch.arange(SAMPLES)
        burst = loudness * torch.sin(pitch * times) * (times > SAMPLES * (0.2 + 0.6 * length))
        return Split((noise + burst).to(torch.int16), labels, tuple(map(str, range(count))))

    classes, positive = ("low", "high", "noise"), (True, True, False)
    return Dataset("waves", "drawn by the test", True, classes, positive, split(90), split(60), split(60))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 8, (32, 1), (16, 1)), nn.ReLU()),
        nn.Sequential(nn.Conv2d(8, 8, (5, 1), (2, 1)), nn.ReLU()),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 3),
    )


@pytest.mark.parametrize(
    "statistic",
    ["spread", pytest.param("level", marks=pytest.mark.slow), pytest.param("flatness", marks=pytest.mark.slow)],
)
def test_a_level_gate_is_searched_exported_and_verified(statistic: str, tmp_path: Path) -> None:
    kinds = {"level": {"statistic": [statistic], "recall": [0.97]}}
    space = {"gates": {"min": 1, "max": 1}, "sites": ["input"], "kinds": kinds}
    arguments: dict[str, Any] = SETTINGS | {
        "space": space,
        "stream": {"period_s": 0.24, "shares": {"positive": 0.1, "noise": 0.9}},
        "frontend": {"name": "wave"},
        "training": {"epochs": 8, "batch_size": 10, "learning_rate": 0.01, "averaging": 0.0},
    }
    run = gatesearch.run(network(), waves(), out=tmp_path / "run", **arguments)
    assert [gate.kind for gate in run.plan.gates] == ["level"]
    assert run.parity.samples == 60 and run.parity.gate_agreement >= 0.95
