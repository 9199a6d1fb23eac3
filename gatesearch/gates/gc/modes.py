"""The gate modules of Gated Compression: a head that decides, and two ways to compress.

See :mod:`gatesearch.gates.gc` for the equations.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatesearch.gates.gc.head import ChannelsFirst, PlaneFilters, Pool, pooled_size
from gatesearch.gates.gc.lowered import Shrink, lowered_head
from gatesearch.gates.modules import GateContext, GateOutput, Lowered
from gatesearch.gates.thresholds import largest_threshold
from gatesearch.graph.channel_axes import along

SLOPE = 5.0  # c of the surrogate


class GCGate(nn.Module):
    """A gate on activations [N, *shape]: a head that decides, and one of two ways to compress.

    Args:
        shape: the shape of one sample at the site.
        keep: share of channels or values that goes on, in (0, 1]; None to learn it (channel mode).
        recall: share of positives that calibration must let pass, in (0, 1].
        axis: which axis of ``shape`` has the channels.
        class_token: whether the first token is one that gathers what the others hold.
    """

    theta: Tensor

    def __init__(
        self, shape: Sequence[int], keep: float | None, recall: float, axis: int = 0, class_token: bool = False
    ) -> None:
        super().__init__()
        self.shape, self.keep, self.recall = tuple(shape), keep, recall
        self.axis, self.channels = axis + 1, self.shape[axis]
        self.view = ChannelsFirst(self.shape, axis)
        self.look = PlaneFilters(self.view.shape)
        self.pool = Pool(self.look.shape, class_token)
        features = pooled_size(self.look.shape) + class_token * self.look.shape[0]
        self.norm = nn.BatchNorm1d(features, affine=False)
        self.linear = nn.Linear(features, 1)
        self.register_buffer("theta", torch.tensor(-math.inf))
        self.exit: nn.Module | None = None

    @staticmethod
    def output_channels(channels: int, keep: float | None) -> int:
        """Return how many of ``channels`` exist behind the gate."""
        raise NotImplementedError

    @staticmethod
    def density(keep: float | None) -> float:
        """Return the share of the values that cross which is expected to be non-zero."""
        raise NotImplementedError

    def compress(self, hidden: Tensor) -> Tensor:
        """Zero what is not worth sending on; [N, *shape] to [N, *shape]."""
        raise NotImplementedError

    def penalty(self, passed: Tensor, positive: Tensor) -> Tensor:
        """Return C, the compression loss, a scalar."""
        raise NotImplementedError

    def forward(self, hidden: Tensor) -> GateOutput:
        """Gate activations [N, *shape]."""
        passed = self.compress(hidden)
        return GateOutput(passed, self.linear(self.norm(self.pool(self.look(self.view(passed))))).squeeze(1))

    def loss(self, output: GateOutput, context: GateContext) -> Tensor:
        """Return alpha BCE + beta C; positives and negatives of a batch weigh the same, each side by weight.

        Without weights an early gate would spend itself on the negatives that it cannot tell (other words) and lose
        those that it can and that the stream is full of (silence).
        """
        positive, target = context.positive, context.positive.to(output.logit.dtype)
        weight = torch.ones_like(target) if context.weight is None else context.weight
        sides = torch.stack([weight[~positive].sum(), weight[positive].sum()]).clamp(min=1e-6)
        balanced = 0.5 * len(target) * weight / sides[positive.long()]
        decision = F.binary_cross_entropy_with_logits(output.logit, target, balanced)
        return context.alpha * decision + context.beta * self.penalty(output.passed, positive)

    def control_parameters(self) -> Iterator[nn.Parameter]:
        """Yield masks and shrinkage thresholds: at the weights' rate they never move."""
        head = {id(p) for part in (self.look, self.linear) for p in part.parameters()}
        return (p for p in self.parameters() if id(p) not in head)

    def initialise(self, saliency: Tensor) -> None:
        """Start from nothing; a mode with a mask starts from the saliency."""

    def calibrate(self, logit: Tensor, positive: Tensor) -> None:
        """Set theta to the largest value that keeps the recall target; see :func:`largest_threshold`."""
        self.theta.fill_(largest_threshold(logit, positive, self.recall))

    def lower(self) -> Lowered:
        """Return what export needs."""
        raise NotImplementedError


class ChannelGC(GCGate):
    """Channel mode: a static mask, so that the suppressed channels can be cut away."""

    def __init__(
        self, shape: Sequence[int], keep: float | None, recall: float, axis: int = 0, class_token: bool = False
    ) -> None:
        super().__init__(shape, keep, recall, axis, class_token)
        # The spread lets the first k differ; `initialise` replaces it by what the backbone tells.
        self.mask_logits = nn.Parameter(torch.linspace(1.0, 0.1, self.channels))

    @staticmethod
    def output_channels(channels: int, keep: float | None) -> int:
        """Return the searched share of them, rounded up, and one at least."""
        return channels if keep is None else max(1, math.ceil(keep * channels - 1e-9))

    @staticmethod
    def density(keep: float | None) -> float:
        """Return 1: kept channels are sent whole."""
        return 1.0

    def mask(self) -> Tensor:
        """Return the mask [C], exact zeros and ones, with the gradient of a sigmoid (straight-through).

        Forward, m = 1[l > tau], and tau lies halfway between the last kept logit and the first suppressed one, so that
        exactly the searched number of channels is kept. A step has no gradient, so backward takes that of
        sigmoid(c (l - tau)): ``hard + (soft - soft.detach())`` has the value of the one and the gradient of the other.
        """
        count = self.output_channels(self.channels, self.keep)
        logits = self.mask_logits
        if self.keep is None:
            tau = torch.zeros(())
            hard = logits > 0
            hard[logits.argmax()] = True  # a learned share may fall, but not to nothing
        elif count == len(logits):
            tau = torch.zeros(())
            hard = torch.ones_like(logits, dtype=torch.bool)
        else:
            order = torch.sort(logits.detach(), descending=True, stable=True)
            tau = order.values[count - 1 : count + 1].mean()
            hard = torch.zeros_like(logits, dtype=torch.bool)
            hard[order.indices[:count]] = True
        soft = torch.sigmoid(SLOPE * (logits - tau))
        return hard.to(soft.dtype) + (soft - soft.detach())

    def compress(self, hidden: Tensor) -> Tensor:
        """Multiply every channel by its mask."""
        if self.keep == 1.0:
            return hidden
        return hidden * along(self.mask(), hidden.ndim, self.axis)

    def penalty(self, passed: Tensor, positive: Tensor) -> Tensor:
        """Return mean(sigmoid(c l)) where the share is learned; a searched share needs no pull."""
        if self.keep is not None:
            return passed.new_zeros(())
        return torch.sigmoid(SLOPE * self.mask_logits).mean()

    def initialise(self, saliency: Tensor) -> None:
        """Start with the channels that matter most to the trained backbone."""
        ranks = saliency.argsort().argsort().to(self.mask_logits.dtype)
        with torch.no_grad():
            self.mask_logits.copy_((ranks + 1) / len(ranks))

    def lower(self) -> Lowered:
        """Keep the unmasked channels; the activations themselves need nothing more."""
        unmasked = torch.nonzero(self.mask().detach() > 0.5).flatten().tolist()
        channels = None if len(unmasked) == self.channels else unmasked
        return Lowered(channels, lowered_head(self, channels, None))


class ActivationGC(GCGate):
    """Activation mode: a learned shrinkage per channel makes what passes sparse, sample by sample."""

    def __init__(
        self, shape: Sequence[int], keep: float | None, recall: float, axis: int = 0, class_token: bool = False
    ) -> None:
        super().__init__(shape, keep, recall, axis, class_token)
        # softplus(-3) = .05: nearly nothing is shrunk at first.
        self.shrinkage = nn.Parameter(torch.full((self.channels,), -3.0))

    @staticmethod
    def output_channels(channels: int, keep: float | None) -> int:
        """Return all channels: none disappears."""
        return channels

    @staticmethod
    def density(keep: float | None) -> float:
        """Return the share of values to which training is held."""
        return 1.0 if keep is None else keep

    def compress(self, hidden: Tensor) -> Tensor:
        """Return relu(h - softplus(t)), t per channel."""
        return F.relu(hidden - along(F.softplus(self.shrinkage), hidden.ndim, self.axis))

    def penalty(self, passed: Tensor, positive: Tensor) -> Tensor:
        """Return the mean |h'| over positives, for as long as more than the searched share is not zero."""
        values = passed[positive]
        if len(values) == 0:
            return passed.new_zeros(())
        excess = (values > 0).to(values.dtype).mean() - (self.keep or 0.0)
        # A count of values that are not zero has no gradient, so it scales their mean, which has one. The division
        # takes the size of the activations out of the pull.
        return torch.clamp(excess.detach(), min=0.0) * 100 * values.mean() / values.detach().mean().clamp(min=1e-6)

    def lower(self) -> Lowered:
        """Keep every channel; shrink in the artifact."""
        amount = along(F.softplus(self.shrinkage.detach()), len(self.shape) + 1, self.axis)
        shrink = Shrink(amount.squeeze(0))
        return Lowered(None, lowered_head(self, None, shrink))


MODES: Mapping[str, type[GCGate]] = {"channel": ChannelGC, "activation": ActivationGC}
