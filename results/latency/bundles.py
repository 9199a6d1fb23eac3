"""Writes gated models as .tflite stages, and loads them, for the ``latency`` benchmark.

The gates of each model have random shares of work. A share of work is the part of a layer's work that its gate keeps.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from gatesearch._lib.files import write_whole
from gatesearch.compile.tflite import convert
from gatesearch.cost.sources.host.executable import StageExecutable, assemble
from gatesearch.devices.profile import Device
from gatesearch.gates.pg import PGConv2d
from gatesearch.gates.pg.arithmetic import margins
from gatesearch.gates.quantise import split
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan
from results.latency import models


@torch.no_grad()
def write(
    folder: Path, subject: models.Subject, plan: GatePlan, seed: int, device: Device, converter: CachedConverter
) -> dict[str, dict[str, float]]:
    """Build the model of a plan, set its gates to random shares of work, and write its stages as in an export.

    Args:
        folder: folder of the bundle.
        subject: the backbone and its sites.
        plan: the gates.
        seed: seed of the gates' weights and of the shares of work.
        device: device of the stages.
        converter: a function that converts modules to .tflite.

    Returns:
        The reports of the layer gates on the first window, by site. The benchmark times this window.
    """
    torch.manual_seed(seed)
    model = GatedModel(subject.backbone, plan, subject.sites, models.CLASSES, layers=subject.layers)
    for _ in range(2):  # two forward passes set the statistics of normalisations and the ranges of quantisers
        model.train()(subject.features)
    model.eval()
    dice = random.Random(seed)
    shares = {name: dice.uniform(0.05, 0.95) for name in model.layer_gates}
    hooks = [
        gate.register_forward_pre_hook(lambda layer, inputs, share=shares[name]: _open(layer, inputs[0], share))
        for name, gate in model.layer_gates.items()
        if isinstance(gate, PGConv2d)
    ]
    model(subject.features[:1])  # the hooks set the thresholds of precision gates for this window
    for hook in hooks:
        hook.remove()
    for gate in model.layer_gates.values():
        gate.reset()
    model(subject.features[:1])  # the gates observe their shares of work on the same window
    observed = {site: dict(gate.report()) for site, gate in model.layer_gates.items()}
    folder.mkdir(parents=True, exist_ok=True)
    stages = assemble(model, subject.features, device, converter)
    for k, stage in enumerate(stages):
        for i, blob in enumerate(stage.blobs):
            write_whole(folder / (f"stage{k}_part{i}" if stage.parts else f"stage{k}.tflite"), blob)
    write_whole(folder / "stages.json", json.dumps([stage.parts for stage in stages]))
    return observed


def load(folder: Path) -> list[StageExecutable]:
    """Load the stages that :func:`write` wrote."""
    stages = []
    for k, parts in enumerate(json.loads((folder / "stages.json").read_text())):
        names = [f"stage{k}_part{i}" for i in range(len(parts))] or [f"stage{k}.tflite"]
        stages.append(StageExecutable(parts, [(folder / name).read_bytes() for name in names]))
    return stages


class CachedConverter:
    """Converts modules to .tflite, once for each structure of a module, because weights do not change the latency.

    Args:
        folder: folder of the converted programs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, module: nn.Module, example: Tensor | Sequence[Tensor]) -> bytes:
        """Return the program of a module; see :func:`gatesearch.compile.tflite.convert`."""
        inputs = [example] if isinstance(example, Tensor) else list(example)
        key = hashlib.sha256(repr([structure(module), [tuple(x.shape) for x in inputs]]).encode()).hexdigest()[:20]
        path = self.folder / f"{key}.tflite"
        if not path.exists():
            write_whole(path, convert(module, inputs))
        return path.read_bytes()


class _Childless(fx.Tracer):
    """A torch.fx tracer that treats every module without children as one operation."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not list(m.children()) or super().is_leaf_module(m, module_qualified_name)


def structure(module: nn.Module) -> list[Any]:
    """Return the structure of a module: its operations and their shapes, but no weights and no float constants.

    >>> structure(nn.Sequential(nn.Linear(2, 3))) == structure(nn.Sequential(nn.Linear(2, 3)))
    True
    """
    if isinstance(getattr(module, "body", None), nn.Module):  # a stage: its layers, then the head of its gate
        return [structure(getattr(module, name)) for name in ("body", "head")]
    traced = module if isinstance(module, fx.GraphModule) else fx.GraphModule(module, _Childless().trace(module))
    order = {node: i for i, node in enumerate(traced.graph.nodes)}
    tensors = dict([*traced.named_parameters(), *traced.named_buffers()])

    def describe(value: Any) -> Any:
        if isinstance(value, fx.Node):
            return order[value]
        return "real" if isinstance(value, float) else value

    nodes: list[Any] = []
    for node in traced.graph.nodes:
        target: Any = getattr(node.target, "__name__", node.target)
        if node.op == "call_module":
            own = traced.get_submodule(str(node.target))
            target = (repr(own), [tuple(p.shape) for p in (*own.parameters(), *own.buffers())])
        elif node.op == "get_attr":
            target = tuple(tensors[str(node.target)].shape)
        elif node.op == "placeholder":
            target = ""
        nodes.append((node.op, target, fx.node.map_aggregate((node.args, dict(node.kwargs)), describe)))
    return nodes


def _open(layer: nn.Module, x: Tensor, share: float) -> None:
    """Set the thresholds of a precision gate so that for the input ``x``, each group has this share of open outputs."""
    assert isinstance(layer, PGConv2d)
    weight, weight_level = layer.weights()
    alpha, scale = layer.range(x)
    parts = split(x, alpha, scale, layer.settings.bits, layer.settings.low_bits)
    high = layer.product(parts.coarse, weight)
    layer.threshold.zero_()
    score = margins(high, layer.group, layer.threshold, parts.level * weight_level)[0].flatten(1)
    layer.threshold.copy_(score[:: layer.group].quantile(1 - share, dim=1))
