"""The order in which a gated model is compiled: a stage goes through the passes from the first to the last.

Each pass is a function from a stage to a stage in a module of its own, which says what it assumes and what it
guarantees. The order matters: channels go first, so that nothing is computed of them; a folded normalisation changes
the ranges that equalisation reads; the head is fitted to the final output of the body; parts are cut out of the final
graph.

Behind the passes a back end writes a file. :mod:`~gatesearch.compile.tflite` rewrites operators, converts and
quantises; :mod:`~gatesearch.compile.vela` goes on from its int8 program; :mod:`~gatesearch.compile.onnx` writes the
stage as it is here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, fx, nn

from gatesearch.compile.equalise import equalise_channels
from gatesearch.compile.fold import fold_norms
from gatesearch.compile.partition import partition
from gatesearch.compile.prune import prune_channels
from gatesearch.compile.rescale import LogitWindow, rescale_head
from gatesearch.compile.stage import StageGraph
from gatesearch.devices.profile import Device
from gatesearch.errors import unknown
from gatesearch.gates import Lowered, layer_gates, work_of
from gatesearch.graph.sites import LayerSite
from gatesearch.model import GatedModel

Pass = Callable[[StageGraph], StageGraph]

PASSES: Mapping[str, Pass] = {
    "prune": prune_channels,  # channels that a gate suppresses leave the layers on both sides
    "fold": fold_norms,  # batch normalisations go into convolutions
    "equalise": equalise_channels,  # the channels of an activation come to one range
    "rescale": rescale_head,  # int8 steps lie where the head decides
    "partition": partition,  # stretches for LiteRT, layers for kernels
}
LAST = "partition"
LAST_OF_EXIT = "equalise"  # an exit is one program, and its output is not rescaled
FEWEST_SAMPLES = 64


def apply(stage: StageGraph, until: str = LAST) -> StageGraph:
    """Take one stage through the passes, the pass ``until`` included.

    >>> net = fx.symbolic_trace(nn.Sequential(nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6)).eval())
    >>> x = torch.ones(2, 3, 5, 5)
    >>> stage = StageGraph(body=net, head=nn.Identity(), samples=x, shape=(4, 5, 5), entering=[0, 1, 3])
    >>> apply(stage, until="prune").body(x).shape
    torch.Size([2, 6, 5, 5])

    Raises:
        UserError: there is no such pass.
    """
    if until not in PASSES:
        raise unknown("compile", "pass", until, PASSES)
    for name, function in PASSES.items():
        stage = function(stage)
        if name == until:
            break
    return stage


@torch.no_grad()
def run(
    model: GatedModel, features: Tensor, device: Device, until: str = LAST, fewest: int = FEWEST_SAMPLES
) -> list[StageGraph]:
    """Take every stage of a calibrated model through the passes; the model is not changed.

    Args:
        model: thresholds set; put into evaluation mode.
        features: [n, *shape] from the training split. Each stage gets those that the gates before it let through, or,
            where these are fewer than ``fewest``, those that came closest.
        device: with the cores that the plan names.
        until: the last pass, a key of :data:`PASSES`.
        fewest: see ``features``.

    Raises:
        UserError: there is no such pass, or the device has no such core.
    """
    model.eval()
    gates = [gate.lower() for gate in model.cut_gates]
    stages: list[StageGraph] = []
    samples = features
    for k in range(len(model.stages)):
        stage = apply(_stage(model, k, gates, samples, device), until)
        if (threshold := stage.threshold) is None:
            stages.append(stage)
            break
        passed, logit = _gated(stage)
        falling = logit.argsort(descending=True)
        light = gates[k].exit
        if light is not None:
            leaving = int((logit <= threshold).sum())
            # Samples leave by the exit where the logit is lowest: the last ones in falling order.
            exiting = passed[falling][-max(leaving, min(fewest, len(passed))) :]
            stage = replace(stage, exit=_exit(light, exiting, stage, until))
        stages.append(stage)
        going = torch.nonzero(logit > threshold).flatten()
        samples = passed[going if len(going) >= fewest else falling[:fewest]]
    return stages


def _stage(model: GatedModel, k: int, gates: Sequence[Lowered], samples: Tensor, device: Device) -> StageGraph:
    """Return stage ``k`` of a model as it enters the passes."""
    before = model.sites[k - 1] if k else None
    stage = StageGraph(
        body=model.stages[k],
        head=nn.Identity(),
        samples=samples,
        shape=tuple(samples.shape[1:]) if before is None else before.shape,
        entering=gates[k - 1].channels if k else None,
        axes=(0 if before is None else before.channel_axis, 0),
        core=device.core(model.plan.cores[k]),
        kernels=_kernels(model, k),
    )
    if k == len(gates):
        return stage
    return replace(
        stage,
        head=gates[k].head,
        leaving=gates[k].channels,
        axes=(stage.axes[0], model.sites[k].channel_axis),
        threshold=float(model.gate(k).theta),
    )


def _kernels(model: GatedModel, k: int) -> dict[LayerSite, str]:
    """Return the kernels that can run gated layers of stage ``k``; a layer without one is not there."""
    kernels = {}
    for site, gate, stage in zip(model.layer_sites, layer_gates(model.plan), model.layer_stages, strict=True):
        calls = work_of(site, gate).kernels
        if stage == k and calls:
            kernels[site] = calls[0].kernel
    return kernels


def _exit(light: nn.Module, samples: Tensor, stage: StageGraph, until: str) -> StageGraph:
    """Take an exit through the passes that it needs."""
    names = list(PASSES)
    graph = StageGraph(
        body=fx.symbolic_trace(light.eval()),
        head=nn.Identity(),
        samples=samples,
        shape=tuple(samples.shape[1:]),
        core=stage.core,
    )
    return apply(graph, min(until, LAST_OF_EXIT, key=names.index))


def _gated(stage: StageGraph) -> tuple[Tensor, Tensor]:
    """Return what passes, and the gate's own logit [n], over the samples of a stage."""
    head = stage.head.head if isinstance(stage.head, LogitWindow) else stage.head
    passed, logit = head(stage.body(stage.samples))
    return passed, logit[:, 0]
