"""The gate modules of Gated Compression: a head that stops samples, and two ways to compress activations.

:mod:`gatesearch.gates.gc` has the equations.
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

SLOPE = 5.0  # c, the slope of the sigmoid whose gradient replaces that of the mask


class GCGate(nn.Module):
    """A gate on activations [N, *shape]: a head that decides, and one of two ways to compress.

    Args:
        shape: the shape of one sample at the site.
        keep: share of channels or values that goes on, in (0, 1]; None to learn the share (channel mode).
        recall: share of positives that calibration must let pass, in (0, 1].
        axis: index of the channel axis in ``shape``.
        class_token: whether the first token is a class token, which gathers information from all others.
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
        """Return the expected share of non-zero values among the values that cross the cut."""
        raise NotImplementedError

    def compress(self, hidden: Tensor) -> Tensor:
        """Set channels or values to zero, [N, *shape] to [N, *shape]."""
        raise NotImplementedError

    def penalty(self, passed: Tensor, positive: Tensor) -> Tensor:
        """Return C, the compression penalty, a scalar."""
        raise NotImplementedError

    def forward(self, hidden: Tensor) -> GateOutput:
        """Compress activations [N, *shape] and compute the logit of each sample."""
        passed = self.compress(hidden)
        return GateOutput(passed, self.linear(self.norm(self.pool(self.look(self.view(passed))))).squeeze(1))

    def loss(self, output: GateOutput, context: GateContext) -> Tensor:
        """Return alpha BCE + beta C, in which the positives and the negatives of a batch have equal weight.

        Among the positives and among the negatives, a sample has the weight ``context.weight``, its frequency at this
        gate. Without these weights, an early gate would learn mostly from hard negatives (other words), which it can
        hardly distinguish from positives. It would then fail to stop easy negatives (silence), which are most frequent.
        """
        positive, target = context.positive, context.positive.to(output.logit.dtype)
        weight = torch.ones_like(target) if context.weight is None else context.weight
        sides = torch.stack([weight[~positive].sum(), weight[positive].sum()]).clamp(min=1e-6)
        balanced = 0.5 * len(target) * weight / sides[positive.long()]
        decision = F.binary_cross_entropy_with_logits(output.logit, target, balanced)
        return context.alpha * decision + context.beta * self.penalty(output.passed, positive)

    def control_parameters(self) -> Iterator[nn.Parameter]:
        """Yield masks and shrinkages, which need a learning rate of their own.

        At the learning rate of the weights they would hardly change.
        """
        head = {id(p) for part in (self.look, self.linear) for p in part.parameters()}
        return (p for p in self.parameters() if id(p) not in head)

    def initialise(self, saliency: Tensor) -> None:
        """Do nothing; the channel mode initialises its mask from the saliency."""

    def calibrate(self, logit: Tensor, positive: Tensor) -> None:
        """Set theta so that a share ``recall`` of the positives passes; see :func:`largest_threshold`."""
        self.theta.fill_(largest_threshold(logit, positive, self.recall))

    def lower(self) -> Lowered:
        """Return the channels and the head that export needs."""
        raise NotImplementedError


class ChannelGC(GCGate):
    """Channel mode: the same mask for all samples, so that export can remove the suppressed channels."""

    def __init__(
        self, shape: Sequence[int], keep: float | None, recall: float, axis: int = 0, class_token: bool = False
    ) -> None:
        super().__init__(shape, keep, recall, axis, class_token)
        # Different logits make the first k channels pass; `initialise` replaces them by the ranks of the saliency.
        self.mask_logits = nn.Parameter(torch.linspace(1.0, 0.1, self.channels))

    @staticmethod
    def output_channels(channels: int, keep: float | None) -> int:
        """Return the share ``keep`` of ``channels``, rounded up, at least 1."""
        return channels if keep is None else max(1, math.ceil(keep * channels - 1e-9))

    @staticmethod
    def density(keep: float | None) -> float:
        """Return 1: every value of an active channel crosses."""
        return 1.0

    def mask(self) -> Tensor:
        """Return the mask [C], exact zeros and ones, with the gradient of a sigmoid (straight-through).

        The forward pass computes m = 1[l > tau], where l are the mask's logits. If ``keep`` is set, tau lies halfway
        between the smallest logit of a channel that passes and the largest logit of a channel that does not. So exactly
        the share ``keep`` of channels passes. A step has no gradient, so the backward pass uses the gradient of
        sigmoid(c (l - tau)). The result ``hard + (soft - soft.detach())`` has the value of ``hard`` and the gradient
        of ``soft``.
        """
        count = self.output_channels(self.channels, self.keep)
        logits = self.mask_logits
        if self.keep is None:
            tau = torch.zeros(())
            hard = logits > 0
            hard[logits.argmax()] = True  # at least one channel passes, whatever the learned share
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
        """Return mean(sigmoid(c l)) if the share of channels is learned; 0 if ``keep`` fixes it."""
        if self.keep is not None:
            return passed.new_zeros(())
        return torch.sigmoid(SLOPE * self.mask_logits).mean()

    def initialise(self, saliency: Tensor) -> None:
        """Order the mask's logits by saliency, the importance of each channel [C]; important channels pass first."""
        ranks = saliency.argsort().argsort().to(self.mask_logits.dtype)
        with torch.no_grad():
            self.mask_logits.copy_((ranks + 1) / len(ranks))

    def lower(self) -> Lowered:
        """Return the channels that pass and the head; the activations themselves need no operator."""
        unmasked = torch.nonzero(self.mask().detach() > 0.5).flatten().tolist()
        channels = None if len(unmasked) == self.channels else unmasked
        return Lowered(channels, lowered_head(self, channels, None))


class ActivationGC(GCGate):
    """Activation mode: a trained shrinkage per channel makes the activations of each sample sparse."""

    def __init__(
        self, shape: Sequence[int], keep: float | None, recall: float, axis: int = 0, class_token: bool = False
    ) -> None:
        super().__init__(shape, keep, recall, axis, class_token)
        # softplus(-3) = 0.05, so the initial shrinkage is small.
        self.shrinkage = nn.Parameter(torch.full((self.channels,), -3.0))

    @staticmethod
    def output_channels(channels: int, keep: float | None) -> int:
        """Return the number of all channels: none is removed."""
        return channels

    @staticmethod
    def density(keep: float | None) -> float:
        """Return the share of non-zero values at which training aims."""
        return 1.0 if keep is None else keep

    def compress(self, hidden: Tensor) -> Tensor:
        """Return relu(h - softplus(t)), where t is the shrinkage of each channel."""
        return F.relu(hidden - along(F.softplus(self.shrinkage), hidden.ndim, self.axis))

    def penalty(self, passed: Tensor, positive: Tensor) -> Tensor:
        """Return a penalty on the values of positives; 0 if at most the share ``keep`` of these values is non-zero."""
        values = passed[positive]
        if len(values) == 0:
            return passed.new_zeros(())
        excess = (values > 0).to(values.dtype).mean() - (self.keep or 0.0)
        # The excess share of non-zero values has no gradient, so it scales the mean value, which has one. The division
        # by the detached mean makes the penalty independent of the activations' size.
        return torch.clamp(excess.detach(), min=0.0) * 100 * values.mean() / values.detach().mean().clamp(min=1e-6)

    def lower(self) -> Lowered:
        """Return the head with the shrinkage as an operator of the exported program; every channel remains."""
        amount = along(F.softplus(self.shrinkage.detach()), len(self.shape) + 1, self.axis)
        shrink = Shrink(amount.squeeze(0))
        return Lowered(None, lowered_head(self, None, shrink))


MODES: Mapping[str, type[GCGate]] = {"channel": ChannelGC, "activation": ActivationGC}
