"""The protocols of gate modules: their inputs, their outputs, and the form in which export takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn


class GateOutput(NamedTuple):
    """The output of a cut gate.

    ``passed`` [N, *site.shape] goes on to the next stage; suppressed channels or values are zero. ``logit`` [N] grows
    with the belief that the rest of the network is needed; the sample leaves where ``logit <= theta``. ``exit`` is the
    model's output for the samples if they left here, [N, *output]; None from a gate whose leaving samples get a
    constant answer, and from the gate itself, which never runs its exit.
    """

    passed: Tensor
    logit: Tensor
    exit: Tensor | None = None


@dataclass(frozen=True, slots=True)
class GateContext:
    """What a cut gate's loss reads of a training batch, other than the gate's own output.

    Args:
        positive: whether each sample holds a signal of interest, [N]; all true where nothing is labelled.
        alpha: weight of the gate's decision in the loss.
        beta: weight of its compression.
        distillation: pull of what an exit gives towards what the whole network gives.
        weight: how often such a sample arrives at this gate in use, [N]; None: all alike.
        final: what the network gives for samples that leave nowhere, [N, *output].
        errors: the error of each sample, [N], for any outputs [N, *output] of the network.
    """

    positive: Tensor
    alpha: float
    beta: float
    distillation: float
    weight: Tensor | None
    final: Tensor
    errors: Callable[[Tensor], Tensor]


class Lowered(NamedTuple):
    """A gate made ready for export.

    ``channels`` are the indices of the kept channels (None: all), which export cuts out of the stages on both sides;
    ``head`` maps the kept activations [N, kept, ...] to (passed [N, kept, ...], logit [N, 1]). ``exit`` maps what
    passes [N, kept, ...] to the model's output; None where the gate has no exit.
    """

    channels: Sequence[int] | None
    head: nn.Module
    exit: nn.Module | None = None


@runtime_checkable
class CutGate(Protocol):
    """A gate at a cut site, as a module. Conformance: :class:`gatesearch.testing.gates.GateConformance`.

    ``exit`` maps what passes [N, *site.shape] to the model's output [N, *site.output], for samples that leave; None
    where they get a constant answer. The gate itself never calls it, so that in use only those run it that leave.
    """

    theta: Tensor
    exit: nn.Module | None

    def __call__(self, hidden: Tensor) -> GateOutput:
        """Gate activations [N, *site.shape]."""

    def loss(self, output: GateOutput, context: GateContext) -> Tensor:
        """Return what the gate adds to the training loss, a scalar; ``output.exit`` is there if it has an exit."""

    def control_parameters(self) -> Iterator[nn.Parameter]:
        """Yield masks and thresholds, which train at a rate of their own, without weight decay."""

    def initialise(self, saliency: Tensor) -> None:
        """Start from the importance of each channel [C], measured on the trained backbone."""

    def calibrate(self, logit: Tensor, positive: Tensor) -> None:
        """Set ``theta`` from held-out logits [N] and their labels [N]."""

    def lower(self) -> Lowered:
        """Return what export needs."""


@runtime_checkable
class LayerGate(Protocol):
    """A gate in the place of a layer, as a module.

    Conformance: :class:`gatesearch.testing.gates.GateConformance`.
    """

    traced_whole: bool  # True: torch.fx keeps it as one node
    absorbs_norm: bool  # whether it takes the place of the batch normalisation behind the layer as well

    def __call__(self, x: Tensor) -> Tensor:
        """Map [N, *site.shape_in] to [N, *site.shape]; in evaluation sample by sample, whatever the batch."""

    def loss(self) -> Tensor:
        """Return what the last forward in training adds to the loss, a scalar."""

    def control_parameters(self) -> Iterator[nn.Parameter]:
        """Yield masks and thresholds, which train at a rate of their own, without weight decay."""

    def anneal(self, progress: float) -> None:
        """Adapt to the progress of a training, from 0 to 1."""

    def reset(self) -> None:
        """Forget what was observed."""

    def report(self) -> Mapping[str, float]:
        """Return what was observed over all forwards in evaluation since :meth:`reset`."""


@torch.no_grad()
def activation_sparsity(passed: Tensor, hidden: Tensor, channel_axis: int) -> dict[str, float]:
    """Return the share of zeros in what a cut gate passes on, by element and by whole channel.

    Half of the activations behind a ReLU are zero without any gate, so the share without the gate is returned as well.

    Args:
        passed: [N, *site.shape].
        hidden: the activations without the gate, of the same shape.
        channel_axis: which axis of the site's shape has the channels.

    >>> hidden = torch.tensor([[0.0, 1.0, 2.0, 3.0]])
    >>> activation_sparsity(hidden * torch.tensor([1.0, 1.0, 0.0, 0.0]), hidden, 0)
    {'element': 0.75, 'channel': 0.75, 'ungated_element': 0.25}
    """
    by_channel = passed.unsqueeze(-1).movedim(channel_axis + 1, 1).flatten(2)
    return {
        "element": float((passed == 0).float().mean()),
        "channel": float((by_channel == 0).all(2).float().mean()),
        "ungated_element": float((hidden == 0).float().mean()),
    }
