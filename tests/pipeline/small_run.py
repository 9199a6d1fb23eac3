"""Helpers that start and resume a whole run on a small network and synthetic images, in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

import gatesearch
from gatesearch.data import Dataset, Split

SETTINGS: dict[str, Any] = {
    "space": {
        "gates": {"min": 1, "max": 1},
        "sites": ["0"],
        "kinds": {"gc": {"mode": ["channel"], "keep": [0.5], "recall": [0.9]}},
    },
    "stream": {"period_s": 1.0, "shares": {"positive": 0.1, "other": 0.9}},
    "training": {"epochs": 4, "batch_size": 20},
    "search": {"trials": 2, "epochs": 1},
    "retrain": {"epochs": 1},
    "constraints": {"max_accuracy_drop": 1.0, "min_gate_recall": None},
    "verify": {"gate_agreement": 0.0, "prediction_agreement": 0.0},
}


def network(width: int = 8, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU()),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, 3),
    )


def images(seed: int = 0, random_labels: bool = False) -> Dataset:
    """Return images that are bright at the top, at the bottom or nowhere; ``random_labels`` shuffles their labels."""
    generator = torch.Generator().manual_seed(seed)

    def split(count: int) -> Split:
        labels = torch.arange(count) % 3
        inputs = 0.3 * torch.randn(count, 1, 8, 8, generator=generator)
        inputs[labels == 0, :, :4] += 1
        inputs[labels == 1, :, 4:] += 2
        if random_labels:
            labels = labels[torch.randperm(count, generator=generator)]
        return Split(inputs, labels, tuple(map(str, range(count))))

    classes, positive = ("top", "bottom", "other"), (True, True, False)
    return Dataset("squares", "drawn by the test", True, classes, positive, split(90), split(60), split(60))


def run(folder: Path, **settings: Any) -> Any:
    return gatesearch.run(network(), images(), out=folder, **(SETTINGS | settings))


def resume(folder: Path, **settings: Any) -> Any:
    # Tests copy run folders, and a copy counts as the folder of another user, which needs trust.
    return gatesearch.run(network(), images(), resume=folder, trust=True, **(SETTINGS | settings))
