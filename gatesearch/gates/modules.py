"""The interfaces of gate modules: cut gates, layer gates, and the form in which a gate is exported."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn


class GateOutput(NamedTuple):
    """The output of a cut gate.

    ``passed`` [N, *site.shape] goes on to the next stage; suppressed channels or values are zero. ``logit`` [N] is
    large for samples that need the rest of the network. A sample leaves the network at the gate if
    ``logit <= theta``, the gate's threshold. ``exit`` [N, *output] is the model's answer for samples that leave. It is
    None if they get a constant class. The gate itself returns None as ``exit``; the model runs the exit and sets it.
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
        weight: for each sample, the relative frequency in use with which samples of its kind reach this gate, [N]; None
            if all are equally frequent.
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
    """The form in which a cut gate is exported.

    ``channels`` holds the indices of the channels that remain; None stands for all. Export removes the other channels
    from the stages on both sides. ``head`` maps the activations of the C remaining channels, [N, C, ...], to the pair
    of passed activations [N, C, ...] and logit [N, 1]. ``exit`` maps the passed activations to the model's output; it
    is None if the gate has no exit.
    """

    channels: Sequence[int] | None
    head: nn.Module
    exit: nn.Module | None = None


@runtime_checkable
class CutGate(Protocol):
    """The interface of a module that is a gate at a cut site.

    ``theta`` is the threshold: a sample passes if its logit is larger. ``exit`` maps the passed activations
    [N, *site.shape] to the model's output [N, *site.output], for samples that leave. It is None if these samples get a
    constant class. The gate itself never calls its exit, so that the exit runs only for samples that leave.

    :class:`gatesearch.testing.gates.GateConformance` tests whether a module does all that is required.
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
    """The interface of a module that is a gate and replaces a layer.

    :class:`gatesearch.testing.gates.GateConformance` tests whether a module does all that is required.
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
        channel_axis: index of the channel axis in the site's shape, which has no batch axis.

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
