"""Held-out models: random plans over several backbones, untrained, their gates set to random shares of the work."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from gatesearch.backbones.ds_cnn import DSCNN
from gatesearch.backbones.m_cifarnet import MCifarNet
from gatesearch.backbones.recurrent import kws_gru, kws_lstm
from gatesearch.backbones.resnet_cifar import resnet20
from gatesearch.compile.tflite import convert
from gatesearch.cost.sources.host.executable import Assembled, assemble
from gatesearch.devices.profile import Device
from gatesearch.gates import fits, work_of
from gatesearch.gates.pg import PGConv2d
from gatesearch.gates.phases import margins
from gatesearch.gates.quantise import split
from gatesearch.graph.sites import CutSite, LayerSite, cut_sites, layer_sites, worthwhile
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan, PlacedGate

SAMPLES = 16
CLASSES = 12
CUTS = 3  # cut sites of a backbone, the input not counted
MASKS = ("m1", "m2-8", "m2-16", "m2-32", "3d")
BLOCKS = (1, 2, 4)
PG_BITS: dict[str, Any] = {"bits": 8, "high_bits": 4, "weight_bits": 7}
GC_VARIANTS = tuple(PlacedGate.of("gc", "any", mode=mode) for mode in ("channel", "activation"))


@dataclass(frozen=True)
class Subject:
    """A backbone with its sites.

    Args:
        backbone: untrained.
        features: windows [n, *shape].
        sites: where cuts may go.
        layers: where layer gates may go.
        kinds: of these.
    """

    backbone: nn.Module
    features: Tensor
    sites: tuple[CutSite, ...]
    layers: tuple[LayerSite, ...]
    kinds: tuple[str, ...]

    def gates(self) -> list[PlacedGate]:
        """Return one gate for each kernel that a plan may call: what the table has to know."""
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
def subject(name: str) -> Subject:
    """Return a backbone by its name in :data:`BACKBONES`."""
    chosen = BACKBONES[name]
    torch.manual_seed(0)
    features = torch.randn(SAMPLES, *chosen.shape, generator=torch.Generator().manual_seed(1))
    backbone = chosen.build()
    found = worthwhile(cut_sites(backbone, features[:1]), 0.05)
    step = max(1, -(-(len(found) - 1) // CUTS))
    layers = layer_sites(backbone, features[:1])
    able = tuple(s for s in layers if any(fits(kind, s) for kind in chosen.kinds) and s.op != "linear")
    return Subject(backbone, features, found[:1] + found[1::step], able, chosen.kinds)


def has_kernel(gate: PlacedGate, site: LayerSite) -> bool:
    """Whether a gate may go to a site and a kernel does its work there."""
    return fits(gate.kind, site) and bool(work_of(site, gate).kernels)


def random_plan(chosen: Subject, seed: int) -> GatePlan:
    """Draw a plan: up to two cuts, up to four gated layers, one gate at least; numbers are drawn from ranges."""
    dice = random.Random(seed)
    while True:
        cuts = sorted(dice.sample(range(len(chosen.sites)), min(dice.choice((0, 0, 1, 1, 2)), len(chosen.sites))))
        gates = [_cut(chosen.sites[i], dice) for i in cuts]
        wanted = dice.sample(range(len(chosen.layers)), min(dice.choice((0, 1, 2, 3, 4)), len(chosen.layers)))
        one_kind = dice.choice((*chosen.kinds, None))  # None mixes them
        for i in sorted(wanted):
            gate = _layer(chosen.layers[i], one_kind or dice.choice(chosen.kinds), dice)
            gates += [gate] if has_kernel(gate, chosen.layers[i]) else []
        if gates:
            return GatePlan(tuple(gates), ("host",) * (len(cuts) + 1))


def _cut(site: CutSite, dice: random.Random) -> PlacedGate:
    thin = site.channels > 1
    mode = dice.choice(("channel", "activation")) if thin else "channel"
    return PlacedGate.of(
        "gc", site.name, mode=mode, keep=round(dice.uniform(0.2, 1.0), 2) if thin else 1.0, recall=0.99
    )


def _layer(site: LayerSite, kind: str, dice: random.Random) -> PlacedGate:
    draw: dict[str, Callable[[], dict[str, Any]]] = {
        "fbs": lambda: {"density": round(dice.uniform(0.2, 1.0), 2), "block": 16},
        "pg": lambda: {"mask": dice.choice(MASKS), **PG_BITS},
        "hmd": lambda: {"factor": round(dice.uniform(1.5, 5.0), 2), "blocks": dice.choice(BLOCKS), "init": "random"},
    }
    return PlacedGate.of(kind, site.name, **draw[kind]())


@torch.no_grad()
def write(
    folder: Path, chosen: Subject, plan: GatePlan, seed: int, device: Device, converter: Programs
) -> dict[str, dict[str, float]]:
    """Build a plan, set its gates, and write its stages as a bundle has them.

    Returns:
        What the gates in the place of layers report of the first window, which is what will be timed.
    """
    torch.manual_seed(seed)
    model = GatedModel(chosen.backbone, plan, chosen.sites, CLASSES, layers=chosen.layers)
    for _ in range(2):  # statistics of normalisations and ranges
        model.train()(chosen.features)
    model.eval()
    dice = random.Random(seed)
    shares = {name: dice.uniform(0.05, 0.95) for name in model.layer_gates}
    hooks = [
        gate.register_forward_pre_hook(lambda layer, given, share=shares[name]: _open(layer, given[0], share))
        for name, gate in model.layer_gates.items()
        if isinstance(gate, PGConv2d)
    ]
    model(chosen.features[:1])
    for hook in hooks:
        hook.remove()
    for gate in model.layer_gates.values():
        gate.reset()
    model(chosen.features[:1])
    observed = {site: dict(gate.report()) for site, gate in model.layer_gates.items()}
    folder.mkdir(parents=True, exist_ok=True)
    stages = assemble(model, chosen.features, device, converter)
    for k, stage in enumerate(stages):
        for i, blob in enumerate(stage.blobs):
            (folder / (f"stage{k}_part{i}" if stage.parts else f"stage{k}.tflite")).write_bytes(blob)
    (folder / "stages.json").write_text(json.dumps([stage.parts for stage in stages]))
    return observed


def load(folder: Path) -> list[Assembled]:
    """Return the stages that :func:`write` left."""
    found = []
    for k, pieces in enumerate(json.loads((folder / "stages.json").read_text())):
        names = [f"stage{k}_part{i}" for i in range(len(pieces))] or [f"stage{k}.tflite"]
        found.append(Assembled(pieces, [(folder / name).read_bytes() for name in names]))
    return found


class Programs:
    """Conversion to .tflite, once for all modules of one structure: what weights there are does not show in the time.

    Args:
        folder: where programs are kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, module: nn.Module, example: Tensor | Sequence[Tensor]) -> bytes:
        """Convert; see :func:`gatesearch.compile.tflite.convert`."""
        given = [example] if isinstance(example, Tensor) else list(example)
        key = hashlib.sha256(repr([structure(module), [tuple(x.shape) for x in given]]).encode()).hexdigest()[:20]
        path = self.folder / f"{key}.tflite"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            part.write_bytes(convert(module, given))
            part.replace(path)
        return path.read_bytes()


class _Childless(fx.Tracer):
    """Keeps modules without children as they are, whoever wrote them."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not list(m.children()) or super().is_leaf_module(m, module_qualified_name)


def structure(module: nn.Module) -> list[Any]:
    """Return what a module computes but for the values of its weights and of real numbers.

    >>> structure(nn.Sequential(nn.Linear(2, 3))) == structure(nn.Sequential(nn.Linear(2, 3)))
    True
    """
    if isinstance(getattr(module, "body", None), nn.Module):  # a stage: what it computes, and the head behind it
        return [structure(getattr(module, name)) for name in ("body", "head")]
    traced = module if isinstance(module, fx.GraphModule) else fx.GraphModule(module, _Childless().trace(module))
    order = {node: i for i, node in enumerate(traced.graph.nodes)}
    tensors = dict([*traced.named_parameters(), *traced.named_buffers()])

    def told(value: Any) -> Any:
        return order[value] if isinstance(value, fx.Node) else "real" if isinstance(value, float) else value

    found: list[Any] = []
    for node in traced.graph.nodes:
        target: Any = getattr(node.target, "__name__", node.target)
        if node.op == "call_module":
            own = traced.get_submodule(str(node.target))
            target = (repr(own), [tuple(p.shape) for p in (*own.parameters(), *own.buffers())])
        elif node.op == "get_attr":
            target = tuple(tensors[str(node.target)].shape)
        elif node.op == "placeholder":
            target = ""
        found.append((node.op, target, fx.node.map_aggregate((node.args, dict(node.kwargs)), told)))
    return found


def _open(layer: nn.Module, x: Tensor, share: float) -> None:
    """Set the thresholds of a precision gate so that such a share of the outputs of every group is open for ``x``."""
    assert isinstance(layer, PGConv2d)
    weight, weight_level = layer.weights()
    alpha, scale = layer.range(x)
    parts = split(x, alpha, scale, layer.settings.bits, layer.settings.low_bits)
    high = layer.product(parts.coarse, weight)
    layer.threshold.zero_()
    score = margins(high, layer.group, layer.threshold, parts.level * weight_level)[0].flatten(1)
    layer.threshold.copy_(score[:: layer.group].quantile(1 - share, dim=1))
