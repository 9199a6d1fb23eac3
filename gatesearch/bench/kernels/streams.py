"""The keyword spotters that listen to a stream in `bench kernels`: two backbones, each searched for that stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from gatesearch.recipe import Recipe, load

RECIPE = "kws.yaml"
# 99 % negatives, most of them background: what the plan is searched, trained and calibrated for.
SHARES: Mapping[str, float] = {"positive": 0.01, "_unknown_": 0.04, "_silence_": 0.95}
LISTENING = ("stream.shares={positive: 0.01, _unknown_: 0.04, _silence_: 0.95}", "search.trials=12")
# Eleven times the multiplications of the other: fewer epochs and trials make its training bearable on two cores.
LARGE = (
    "backbone_args={width: 276, blocks: 5, stem_stride: [2, 1], first_stride: [2, 2]}",
    *("training.epochs=20", "training.learning_rate=0.005", "retrain.epochs=10"),
    *("search.trials=6", "search.epochs=1"),
)
BACKBONES: Mapping[str, Sequence[str]] = {"DS-CNN": LISTENING, "DS-CNN-L": (*LISTENING[:1], *LARGE)}


def recipe(backbone: str, data: Sequence[str]) -> Recipe:
    """Return the recipe of one of BACKBONES; data are further overrides, such as data.root."""
    return load(RECIPE, [*BACKBONES[backbone], *data])


def folder(root: Path, backbone: str, synthetic: bool) -> Path:
    """Return where the run of a backbone lies."""
    return root / f"stream-{backbone.lower()}-{'synthetic' if synthetic else 'real'}"
