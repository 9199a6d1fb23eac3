"""The passes that compile the stages of a gated model, in the order in which they run.

Each pass is a function from a stage to a stage. It has a module of its own, whose docstring says what the pass assumes
and guarantees. The order matters:

- Pruning comes first, so that no later pass works on channels that are removed.
- Folding a normalisation changes the ranges of activations, so it comes before equalisation, which uses these ranges.
- Rescaling the head uses the outputs of the body, so it comes after all passes that change the body.
- Partition comes last, because it cuts the final graph into parts.

After the passes a back end writes a file. :mod:`~gatesearch.compile.tflite` rewrites operators, converts and
quantises. :mod:`~gatesearch.compile.vela` compiles the resulting int8 program for an Ethos-U.
:mod:`~gatesearch.compile.onnx` writes the stage as it is after the passes.
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
    "prune": prune_channels,  # removes the channels that gates suppress, from the layers on both sides
    "fold": fold_norms,  # moves batch normalisations into convolutions
    "equalise": equalise_channels,  # brings the channels of an activation to one range
    "rescale": rescale_head,  # scales the head's logit, so that int8 values resolve it finely near the threshold
    "partition": partition,  # cuts the stage into parts for LiteRT and parts for kernels
}
LAST = "partition"
LAST_OF_EXIT = "equalise"  # last pass for an exit; an exit is one program, and its output is not rescaled
FEWEST_SAMPLES = 64  # least number of samples that set the ranges of the values in a stage or an exit


def apply(stage: StageGraph, until: str = LAST) -> StageGraph:
    """Return a stage after the passes up to and including ``until``.

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
    """Return every stage of a calibrated model after the passes; the model's layers are not changed.

    Args:
        model: the model with its thresholds set; it is put into evaluation mode.
        features: samples [n, *shape] from the training split. Each stage gets those that pass the gates before it. If
            fewer than ``fewest`` samples pass a gate, the next stage gets the ``fewest`` samples with the highest
            logits.
        device: the device that has the cores of the plan.
        until: the last pass to run, a key of :data:`PASSES`.
        fewest: the least number of samples for each stage and each exit.

    Raises:
        UserError: there is no such pass, or the device lacks a core of the plan.
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
            # The samples with the lowest logits take the exit. They are the last ones in falling order.
            exiting = passed[falling][-max(leaving, min(fewest, len(passed))) :]
            stage = replace(stage, exit=_exit(light, exiting, stage, until))
        stages.append(stage)
        going = torch.nonzero(logit > threshold).flatten()
        samples = passed[going if len(going) >= fewest else falling[:fewest]]
    return stages


def _stage(model: GatedModel, k: int, gates: Sequence[Lowered], samples: Tensor, device: Device) -> StageGraph:
    """Return stage ``k`` of a model before the passes."""
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
        averages_logits=_averages_logits(model, k),
    )


def _averages_logits(model: GatedModel, k: int) -> bool:
    """Say whether gate ``k`` decides by the mean of its logits over several hops of a stream."""
    settings = getattr(model.stream, "gates", ())
    return k < len(settings) and settings[k].smoothing > 1


def _kernels(model: GatedModel, k: int) -> dict[LayerSite, str]:
    """Return the name of the kernel of each gated layer in stage ``k``; gated layers without a kernel are left out."""
    kernels = {}
    for site, gate, stage in zip(model.layer_sites, layer_gates(model.plan), model.layer_stages, strict=True):
        calls = work_of(site, gate).kernels
        if stage == k and calls:
            kernels[site] = calls[0].kernel
    return kernels


def _exit(light: nn.Module, samples: Tensor, stage: StageGraph, until: str) -> StageGraph:
    """Return an exit, as a stage of its own, after the passes that it needs."""
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
    """Return the activations that the gate passes on, and its logit [n] before rescaling, for a stage's samples."""
    head = stage.head.head if isinstance(stage.head, LogitWindow) else stage.head
    passed, logit = head(stage.body(stage.samples))
    return passed, logit[:, 0]
