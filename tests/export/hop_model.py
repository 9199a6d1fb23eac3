"""A small gated network that runs by hops, and its bundle.

The network is a DS-CNN, which consists of depthwise-separable convolutions. A network that runs by hops computes only
the new frames of a window at each decision.
"""

from __future__ import annotations

from pathlib import Path

import torch

from gatesearch.backbones.ds_cnn import DSCNN
from gatesearch.devices import profile
from gatesearch.export.bundle import write_bundle
from gatesearch.export.hop_stages import HopSetting
from gatesearch.graph.hops import Frames, rewrite_for_hops
from gatesearch.graph.sites import cut_sites
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.runtime.bundle import Bundle
from gatesearch.training import FeatureSplit
from tests.export.small_model import CLASSES, POSITIVE, windows

SHAPE, FRAMES = (1, 49, 10), 49
TWO_GATES = GatePlan(
    (
        PlacedGate.of("gc", "input", mode="activation", keep=1.0, recall=1.0),
        PlacedGate.of("gc", "blocks.0", mode="channel", keep=0.5, recall=0.97),
    ),
    ("mcu", "npu", "app"),
)
BEHIND_THE_POOLING = GatePlan((PlacedGate.of("gc", "dropout", mode="channel", keep=1.0, recall=0.97),), ("mcu", "app"))


def export_by_hops(
    folder: Path,
    plan: GatePlan = TWO_GATES,
    hop: int = 2,
    phases: int = 1,
    theta: float | None = -1e9,
    features: torch.Tensor | None = None,
    device: str = "three_core",
) -> Bundle:
    """Return the bundle of a plan with programs by hops; the network is not trained.

    Gates get the threshold ``theta``; None stands for the median of their logits. ``features`` [n, 1, 49, 10] replace
    the windows of the small model.

    XNNPACK refuses a stage whose ``theta`` is far outside the logits, and LiteRT then frees memory twice.
    """
    torch.manual_seed(5)
    backbone = rewrite_for_hops(DSCNN(len(CLASSES), SHAPE, width=8, blocks=2), SHAPE, time_axis=1).network
    split, validation = windows(80, seed=1), windows(40, seed=2)
    if features is not None:
        labels = torch.arange(len(features)) % len(CLASSES)
        split = validation = FeatureSplit(features, labels, labels)
    backbone.train()
    with torch.no_grad():
        for _ in range(20):
            backbone(split.features)  # running statistics of the normalisations
    model = GatedModel(backbone.eval(), plan, cut_sites(backbone, split.features[:1]), len(CLASSES)).eval()
    thetas = [theta] * len(model.cut_gates)
    if theta is None:
        with torch.no_grad():
            thetas = [float(gate.logit.median()) for gate in model.train()(split.features).gates]
        model.eval()
    for k, each in enumerate(thetas):
        model.gate(k).theta.fill_(each)
    write_bundle(
        folder,
        model,
        profile.load(device),
        split.features,
        validation,
        POSITIVE,
        formats=("tflite",),
        classes=CLASSES,
        about={"recipe": "kws"},
        hops=HopSetting(Frames(axis=2, count=FRAMES, hop=hop * phases), phases),
    )
    return Bundle(folder)
