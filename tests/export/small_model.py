"""A small gated network on three cores for tests of exports, and input windows of four classes for it.

The network is a DS-CNN: a convolutional network with depthwise-separable convolutions.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gatesearch.backbones.ds_cnn import DSCNN
from gatesearch.compile.stage import StageGraph
from gatesearch.graph.sites import cut_sites
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.runtime.bundle import Bundle
from gatesearch.training import FeatureSplit

CLASSES = ("yes", "no", "_unknown_", "_silence_")
POSITIVE = torch.tensor([True, True, False, False])
LOUDNESS = (1.0, 1.0, 0.9, 0.05)  # factor on the windows of each class


def windows(count: int, seed: int) -> FeatureSplit:
    """Return feature maps [count, 1, 49, 10] whose pattern and loudness depend on their class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % len(CLASSES)
    patterns = torch.randn(len(CLASSES), 1, 49, 10, generator=torch.Generator().manual_seed(7))
    noise = torch.randn(count, 1, 49, 10, generator=generator)
    loudness = torch.tensor(LOUDNESS)[labels].view(-1, 1, 1, 1)
    kinds = torch.tensor([0, 0, 1, 2])[labels]
    return FeatureSplit(loudness * (patterns[labels] + 2.0 * noise), labels, kinds)


def gated(plan: GatePlan) -> GatedModel:
    """Return a small DS-CNN with the gates of a plan, briefly trained on the windows."""
    torch.manual_seed(3)
    backbone = DSCNN(len(CLASSES), width=16, blocks=2)
    split = windows(200, seed=1)
    model = GatedModel(backbone, plan, cut_sites(backbone, split.features[:1]), len(CLASSES))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    model.train()
    for _ in range(15):  # enough for logits in two clusters, as trained gates have
        output = model(split.features)
        loss = torch.nn.functional.cross_entropy(output.logits, split.labels)
        for gate in output.gates:
            loss = loss + torch.nn.functional.binary_cross_entropy_with_logits(
                gate.logit, POSITIVE[split.labels].float()
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


PLAN = GatePlan(
    (
        PlacedGate.of("gc", "stem", mode="activation", keep=0.5, recall=1.0),
        PlacedGate.of("gc", "blocks.0", mode="channel", keep=0.5, recall=0.97),
    ),
    ("mcu", "npu", "app"),
)


@dataclass(frozen=True)
class Exported:
    """A bundle on disk, the model with its thresholds, the stages after all compiler passes, and windows."""

    folder: Path
    model: GatedModel
    manifest: dict[str, Any]
    stages: list[StageGraph]
    validation: FeatureSplit
    test: FeatureSplit

    @property
    def loaded(self) -> Bundle:
        return Bundle(self.folder)
