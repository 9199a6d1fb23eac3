"""The models of the ``latency`` benchmark: random plans over several untrained backbones."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from gatesearch.backbones.ds_cnn import DSCNN
from gatesearch.backbones.m_cifarnet import MCifarNet
from gatesearch.backbones.recurrent import kws_gru, kws_lstm
from gatesearch.backbones.resnet_cifar import resnet20
from gatesearch.gates import fits, work_of
from gatesearch.graph.sites import CutSite, LayerSite, cut_sites, layer_sites, worthwhile
from gatesearch.plan import GatePlan, PlacedGate

SAMPLES = 16  # windows of random features
CLASSES = 12
CUTS = 3  # largest number of cut sites in a backbone, without the input
MASKS = ("m1", "m2-8", "m2-16", "m2-32", "3d")
BLOCKS = (1, 2, 4)
PG_BITS: dict[str, Any] = {"bits": 8, "high_bits": 4, "weight_bits": 7}
GC_VARIANTS = tuple(PlacedGate.of("gc", "any", mode=mode) for mode in ("channel", "activation"))


@dataclass(frozen=True)
class Subject:
    """A backbone whose latency is predicted, with its sites.

    Args:
        backbone: the untrained network.
        features: windows [n, *shape].
        sites: the cut sites for gates.
        layers: the layer sites for gates.
        kinds: the kinds of layer gates.
    """

    backbone: nn.Module
    features: Tensor
    sites: tuple[CutSite, ...]
    layers: tuple[LayerSite, ...]
    kinds: tuple[str, ...]

    def gates(self) -> list[PlacedGate]:
        """Return one gate for each kernel that a plan may call; the latency table has to cover these kernels."""
        offers = {
            "fbs": [{"density": 0.5, "block": 16}],
            "pg": [{"mask": mask, **PG_BITS} for mask in MASKS],
            "hmd": [{"factor": 2.0, "blocks": blocks} for blocks in BLOCKS],
        }
        return [
            PlacedGate.of(kind, site.name, **params)
            for site in self.layers
            for kind in self.kinds
            for params in offers[kind]
            if has_kernel(PlacedGate.of(kind, site.name, **params), site)
        ]


@dataclass(frozen=True, slots=True)
class _Backbone:
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    kinds: tuple[str, ...]


CONVOLUTIONS, RECURRENT = ("fbs", "pg"), ("hmd",)
BACKBONES: Mapping[str, _Backbone] = {
    "DS-CNN, width 64": _Backbone(lambda: DSCNN(CLASSES), (1, 49, 10), CONVOLUTIONS),
    "DS-CNN, width 176": _Backbone(lambda: DSCNN(CLASSES, width=176), (1, 49, 10), CONVOLUTIONS),
    "M-CifarNet, half width": _Backbone(lambda: MCifarNet(CLASSES, width=0.5), (3, 32, 32), CONVOLUTIONS),
    "M-CifarNet": _Backbone(lambda: MCifarNet(CLASSES), (3, 32, 32), CONVOLUTIONS),
    "ResNet-20": _Backbone(lambda: resnet20(CLASSES), (3, 32, 32), CONVOLUTIONS),
    "KWS-LSTM": _Backbone(lambda: kws_lstm(CLASSES), (1, 49, 10), RECURRENT),
    "KWS-GRU": _Backbone(lambda: kws_gru(CLASSES), (1, 49, 10), RECURRENT),
}


@cache
def build_subject(name: str) -> Subject:
    """Build a backbone of :data:`BACKBONES` by its name, and find its sites."""
    entry = BACKBONES[name]
    torch.manual_seed(0)
    features = torch.randn(SAMPLES, *entry.shape, generator=torch.Generator().manual_seed(1))
    backbone = entry.build()
    sites = worthwhile(cut_sites(backbone, features[:1]), 0.05)
    step = max(1, -(-(len(sites) - 1) // CUTS))
    layers = layer_sites(backbone, features[:1])
    gated = tuple(s for s in layers if any(fits(kind, s) for kind in entry.kinds) and s.op != "linear")
    return Subject(backbone, features, sites[:1] + sites[1::step], gated, entry.kinds)


def has_kernel(gate: PlacedGate, site: LayerSite) -> bool:
    """Return whether a gate fits a site and a kernel computes its work there."""
    return fits(gate.kind, site) and bool(work_of(site, gate).kernels)


def random_plan(subject: Subject, seed: int) -> GatePlan:
    """Draw a plan of one to six gates with random parameters: up to two at cuts, and up to four in layers."""
    dice = random.Random(seed)
    while True:
        cuts = sorted(dice.sample(range(len(subject.sites)), min(dice.choice((0, 0, 1, 1, 2)), len(subject.sites))))
        gates = [_cut(subject.sites[i], dice) for i in cuts]
        places = dice.sample(range(len(subject.layers)), min(dice.choice((0, 1, 2, 3, 4)), len(subject.layers)))
        one_kind = dice.choice((*subject.kinds, None))  # None mixes the kinds
        for i in sorted(places):
            gate = _layer(subject.layers[i], one_kind or dice.choice(subject.kinds), dice)
            gates += [gate] if has_kernel(gate, subject.layers[i]) else []
        if gates:
            return GatePlan(tuple(gates), ("host",) * (len(cuts) + 1))


def _cut(site: CutSite, dice: random.Random) -> PlacedGate:
    has_channels = site.channels > 1
    mode = dice.choice(("channel", "activation")) if has_channels else "channel"
    keep = round(dice.uniform(0.2, 1.0), 2) if has_channels else 1.0
    return PlacedGate.of("gc", site.name, mode=mode, keep=keep, recall=0.99)


def _layer(site: LayerSite, kind: str, dice: random.Random) -> PlacedGate:
    draw: dict[str, Callable[[], dict[str, Any]]] = {
        "fbs": lambda: {"density": round(dice.uniform(0.2, 1.0), 2), "block": 16},
        "pg": lambda: {"mask": dice.choice(MASKS), **PG_BITS},
        "hmd": lambda: {"factor": round(dice.uniform(1.5, 5.0), 2), "blocks": dice.choice(BLOCKS), "init": "random"},
    }
    return PlacedGate.of(kind, site.name, **draw[kind]())
