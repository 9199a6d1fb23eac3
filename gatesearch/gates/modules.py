"""The protocols of gate modules: their inputs and outputs, and the form in which export reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn


class GateOutput(NamedTuple):
    """The output of a cut gate.

    ``passed`` [N, *site.shape] goes on to the next stage; suppressed channels or values are zero. ``logit`` [N] is
    large for samples that need the rest of the network; a sample leaves where ``logit <= theta``. ``exit``
    [N, *output] is the model's output for each sample if it left here. ``exit`` is None where leaving samples get a
    constant answer. The gate itself always returns None there, because it never runs its exit; the model does.
    """

    passed: Tensor
    logit: Tensor
    exit: Tensor | None = None


@dataclass(frozen=True, slots=True)
class GateContext:
    """The inputs of a cut gate's loss for one training batch, other than the gate's own output.

    Args:
        positive: whether each sample holds a signal of interest, [N]; all true where the data have no labels.
        alpha: weight of the gate's decision in the loss.
        beta: weight of the gate's compression in the loss.
        distillation: weight of the distance between the exit's output and the whole network's output.
        weight: how often such a sample reaches this gate in use, [N]; None if all are equally frequent.
        final: the network's output for every sample if no gate stops it, [N, *output].
        errors: a function from outputs of the network [N, *output] to the error of each sample [N].
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

    ``channels`` holds the indices of the channels that stay (None: all); export removes the others from the stages on
    both sides. ``head`` maps the remaining activations [N, kept, ...] to (passed [N, kept, ...], logit [N, 1]).
    ``exit`` maps ``passed`` [N, kept, ...] to the model's output; None where the gate has no exit.
    """

    channels: Sequence[int] | None
    head: nn.Module
    exit: nn.Module | None = None


@runtime_checkable
class CutGate(Protocol):
    """A gate at a cut site, as a module.

    Conformance: :class:`gatesearch.testing.gates.GateConformance`.

    ``exit`` maps ``passed`` [N, *site.shape] to the model's output [N, *site.output], for samples that leave; None
    where those get a constant answer. The gate itself never calls its exit, so that in use the exit runs only for
    samples that leave.
    """

    theta: Tensor
    exit: nn.Module | None

    def __call__(self, hidden: Tensor) -> GateOutput:
        """Apply the gate to activations [N, *site.shape]."""

    def loss(self, output: GateOutput, context: GateContext) -> Tensor:
        """Return the gate's term of the training loss, a scalar; ``output.exit`` is set if the gate has an exit."""

    def control_parameters(self) -> Iterator[nn.Parameter]:
        """Yield masks and thresholds, which train at a learning rate of their own, without weight decay."""

    def initialise(self, saliency: Tensor) -> None:
        """Initialise the gate from the importance of each channel [C], measured on the trained backbone."""

    def calibrate(self, logit: Tensor, positive: Tensor) -> None:
        """Set ``theta`` from held-out logits [N] and the labels [N] that say which samples are positive."""

    def lower(self) -> Lowered:
        """Return the channels, the head and the exit that export needs."""


@runtime_checkable
class LayerGate(Protocol):
    """A gate in the place of a layer, as a module.

    Conformance: :class:`gatesearch.testing.gates.GateConformance`.
    """

    traced_whole: bool  # whether torch.fx keeps the gate as one node
    absorbs_norm: bool  # whether the gate also replaces the batch normalisation behind the layer

    def __call__(self, x: Tensor) -> Tensor:
        """Map [N, *site.shape_in] to [N, *site.shape].

        In evaluation, the output for a sample does not depend on the other samples of the batch.
        """

    def loss(self) -> Tensor:
        """Return the gate's term of the training loss for the last forward in training, a scalar."""

    def control_parameters(self) -> Iterator[nn.Parameter]:
        """Yield masks and thresholds, which train at a learning rate of their own, without weight decay."""

    def anneal(self, progress: float) -> None:
        """Adapt the gate to the progress of a training, from 0 to 1."""

    def reset(self) -> None:
        """Clear all observations."""

    def report(self) -> Mapping[str, float]:
        """Return figures observed over all forwards in evaluation since :meth:`reset`."""


@torch.no_grad()
def activation_sparsity(passed: Tensor, hidden: Tensor, channel_axis: int) -> dict[str, float]:
    """Return the share of zeros in a cut gate's output, by element and by whole channel.

    Many activations behind a ReLU are zero without any gate, so the share without the gate is returned as well.

    Args:
        passed: the gate's output, [N, *site.shape].
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
