"""Gated Compression: stop negatives early, thin out what passes. After Li et al. 2023 (arXiv 2303.08970).

The abstract is what could be read of that paper, so the equations are this project's reading of it:

    z = w . norm(pool(h')) + b              stop where z <= theta
    channel mode     h' = m * h             m = 1[sigmoid(c (l - tau)) > 1/2], straight-through
    activation mode  h' = relu(h - softplus(t))
    loss             alpha BCE(sigmoid(z), positive) + beta C

Three choices are ours. The head reads h', not h: a channel that is suppressed is then needed nowhere and disappears
from the layer that made it too. ``norm`` is a batch normalisation without affine part: it folds into the linear
layer, so that the exported head is pooling and one fully connected operator, where a layer normalisation would need a
reciprocal square root that int8 cores do not have, and would remove the loudness by which silence is told. Among
tokens, which are pooled like the pixels of a map, a class token is one more feature a channel. And tau is
the logit of the first suppressed channel, so that exactly the searched share of channels is kept and a plan's cost is
known before it is trained; ``keep=None`` is the learned form, tau = 0 with C = mean(sigmoid(c l)).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatesearch.gates.base import CutWork, GateContext, GateOutput, Lowered
from gatesearch.gates.calibration import largest_threshold
from gatesearch.gates.kind import GateKind
from gatesearch.gates.params import GateParams, param
from gatesearch.graph.channel_axes import along
from gatesearch.graph.sites import CutSite
from gatesearch.plan import Scalar

SLOPE = 5.0  # c of the surrogate
LARGEST_GAIN = 64.0
# How far ranges are evened out. All the way, the linear layer's weights, which share one scale too, become as uneven as
# the features were: the logit's rounding error on training clips was half as large at .7 as at 1 or 0.
EVENNESS = 0.7
LOOK_FILTERS, LOOK_FRAMES, LOOK_STRIDE, LOOK_CONTEXT = 16, 5, 2, 3


@dataclass(frozen=True)
class GCParams(GateParams):
    """What is chosen for one gate."""

    mode: str = param(
        "channel",
        choices=("channel", "activation"),
        among=("channel", "activation"),
        new_program=True,
        doc="a mask over channels, or a shrinkage of values",
    )
    keep: float | None = param(
        1.0,
        choices=(0.25, 0.5, 0.75, 1.0),
        above=0,
        high=1,
        optional=True,
        doc="share of channels or values that goes on; None to learn it",
    )
    recall: float = param(
        0.99,
        choices=(0.97, 0.98, 0.99, 0.995),
        above=0,
        high=1,
        tunable_after_training=True,
        aim="recall",
        doc="share of positives that calibration must let pass",
    )


class GC(GateKind[CutSite, GCParams]):
    """The kind: any cut site of rank 1 (features), 2 (channels by time, tokens) or 3 (channels by height by width)."""

    name = "gc"
    site_type = CutSite
    Params = GCParams

    def fits(self, site: CutSite) -> bool:
        """Say whether the head can pool there."""
        return 1 <= len(site.shape) <= 3

    def choices(self, site: CutSite) -> dict[str, tuple[Scalar, ...]]:
        """Return the searched values; a single channel cannot be thinned out."""
        choices = super().choices(site)
        if site.channels == 1:
            choices |= {"mode": ("channel",), "keep": (1.0,)}
        return choices

    def build(
        self, site: CutSite, params: GCParams, layer: nn.Module | None = None, norm: nn.BatchNorm2d | None = None
    ) -> GCGate:
        """Build the gate; see :class:`GCGate`."""
        mode = MODES[params.mode]
        return mode(site.shape, params.keep, params.recall, site.channel_axis, site.class_token)

    def work(self, site: CutSite, params: GCParams, observed: Mapping[str, float] | None = None) -> CutWork:
        """Return the head's linear layer, and the channels or values that are left."""
        mode = MODES[params.mode]
        channels = mode.kept(site.channels, params.keep)
        look = Look(_as_map(site.shape, site.channel_axis))
        kept = channels if look.is_identity else look.shape[0]
        linear = (_pooled_size(look.shape) // look.shape[0] + site.class_token) * kept
        # A mean over a map is exported as a depthwise convolution, which has weights of its own.
        mean = kept * math.prod(look.shape[1:]) if len(look.shape) == 3 else 0
        return CutWork(
            macs=look.macs + mean + linear,
            params=sum(p.numel() for p in look.parameters()) + mean + linear + 1,
            density=mode.density(params.keep),
            kept_channels=channels,
            elements=site.elements // site.channels * channels,
        )


class GCGate(nn.Module):
    """A gate on activations [N, *shape]: a head that decides, and one of two ways to compress.

    Args:
        shape: of one sample at the site.
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
        self.view = _View(self.shape, axis)
        self.look = Look(self.view.shape)
        self.pool = Pool(self.look.shape, class_token)
        features = _pooled_size(self.look.shape) + class_token * self.look.shape[0]
        self.norm = nn.BatchNorm1d(features, affine=False)
        self.linear = nn.Linear(features, 1)
        self.register_buffer("theta", torch.tensor(-math.inf))
        self.exit: nn.Module | None = None

    @staticmethod
    def kept(channels: int, keep: float | None) -> int:
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
        """Section 0.2: alpha BCE + beta C; positives and negatives of a batch weigh the same, each side by weight.

        Without weights an early gate would spend itself on the negatives that it cannot tell (other words) and lose
        those that it can and that the stream is full of (silence).
        """
        positive, target = context.positive, context.positive.to(output.logit.dtype)
        weight = torch.ones_like(target) if context.weight is None else context.weight
        sides = torch.stack([weight[~positive].sum(), weight[positive].sum()]).clamp(min=1e-6)
        balanced = 0.5 * len(target) * weight / sides[positive.long()]
        decision = F.binary_cross_entropy_with_logits(output.logit, target, balanced)
        return context.alpha * decision + context.beta * self.penalty(output.passed, positive)

    def steering(self) -> Iterator[nn.Parameter]:
        """Masks and shrinkage thresholds; at the weights' rate they never move."""
        head = {id(p) for part in (self.look, self.linear) for p in part.parameters()}
        return (p for p in self.parameters() if id(p) not in head)

    def initialise(self, saliency: Tensor) -> None:
        """Nothing to start from unless a mode has it."""

    def calibrate(self, logit: Tensor, positive: Tensor) -> None:
        """Set theta to the largest value that keeps the recall target; see :func:`largest_threshold`."""
        self.theta.fill_(largest_threshold(logit, positive, self.recall))

    def lower(self) -> Lowered:
        """Return what export needs."""
        raise NotImplementedError

    def folded(self, channels: Sequence[int] | None) -> nn.Linear:
        """Return the linear layer with the normalisation folded in, for the given channels."""
        mean, var = self.norm.running_mean, self.norm.running_var
        assert mean is not None and var is not None
        scale = torch.rsqrt(var + self.norm.eps)
        weight = self.linear.weight * scale
        bias = self.linear.bias - (weight * mean).sum(1)
        if channels is not None:
            # What is dropped is zero, so only its folded mean remains, in the bias.
            weight = weight[:, self.pool.features_of(channels)]
        folded = nn.Linear(weight.shape[1], 1)
        with torch.no_grad():
            folded.weight.copy_(weight)
            folded.bias.copy_(bias)
        return folded

    @torch.no_grad()
    def exported_head(self, channels: Sequence[int] | None, shrink: nn.Module | None) -> nn.Module:
        """Return the head for the given channels in the form that loses least in int8."""
        linear = self.folded(channels)
        if len(self.pool.shape) != 3:
            return _Head(self.view, self.look, self.pool, linear, shrink)
        mean, var = self.norm.running_mean, self.norm.running_var
        assert mean is not None and var is not None
        # Where nearly all values lie: features that share one int8 scale should fill it, and it is the rare large value
        # that sets the scale.
        size = mean + 3 * torch.sqrt(var + self.norm.eps)
        if channels is not None:
            size = size[self.pool.features_of(channels)]
        size = size.view(self.pool.parts, -1)  # means, maxima, class token
        # The filters' outputs share one int8 scale as well; through their ReLU a factor passes unchanged.
        even = torch.ones(size.shape[1]) if self.look.is_identity else size[1].max() / size[1]
        even = even.clamp(1.0, LARGEST_GAIN) ** EVENNESS
        size = size * even
        gain = (size[1].max() / size[0]).clamp(1.0, LARGEST_GAIN) ** EVENNESS
        linear.weight /= even.repeat(len(size))
        linear.weight[:, : len(gain)] /= gain
        return _Head(self.view, self.look.scaled(even), _EvenPool(self.pool, gain), linear, shrink)


class ChannelGC(GCGate):
    """Channel mode: a static mask, so that the suppressed channels can be cut away."""

    def __init__(
        self, shape: Sequence[int], keep: float | None, recall: float, axis: int = 0, class_token: bool = False
    ) -> None:
        super().__init__(shape, keep, recall, axis, class_token)
        # The spread lets the first k differ; `initialise` replaces it by what the backbone tells.
        self.mask_logits = nn.Parameter(torch.linspace(1.0, 0.1, self.channels))

    @staticmethod
    def kept(channels: int, keep: float | None) -> int:
        """Round up, one at least."""
        return channels if keep is None else max(1, math.ceil(keep * channels - 1e-9))

    @staticmethod
    def density(keep: float | None) -> float:
        """Kept channels are sent whole."""
        return 1.0

    def mask(self) -> Tensor:
        """Return the mask [C], exact zeros and ones, with the gradient of the sigmoid."""
        count = self.kept(self.channels, self.keep)
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
        """mean(sigmoid(c l)) where the share is learned; a searched share needs no pull."""
        if self.keep is not None:
            return passed.new_zeros(())
        return torch.sigmoid(SLOPE * self.mask_logits).mean()

    def initialise(self, saliency: Tensor) -> None:
        """Start with the channels that matter most to the trained backbone."""
        ranks = saliency.argsort().argsort().to(self.mask_logits.dtype)
        with torch.no_grad():
            self.mask_logits.copy_((ranks + 1) / len(ranks))

    def lower(self) -> Lowered:
        """Keep the unmasked channels; nothing is left to do to the activations themselves."""
        kept = torch.nonzero(self.mask().detach() > 0.5).flatten().tolist()
        channels = None if len(kept) == self.channels else kept
        return Lowered(channels, self.exported_head(channels, None))


class ActivationGC(GCGate):
    """Activation mode: a learned shrinkage per channel makes what passes sparse, sample by sample."""

    def __init__(
        self, shape: Sequence[int], keep: float | None, recall: float, axis: int = 0, class_token: bool = False
    ) -> None:
        super().__init__(shape, keep, recall, axis, class_token)
        # softplus(-3) = .05: nearly nothing is shrunk at first.
        self.shrinkage = nn.Parameter(torch.full((self.channels,), -3.0))

    @staticmethod
    def kept(channels: int, keep: float | None) -> int:
        """No channel disappears."""
        return channels

    @staticmethod
    def density(keep: float | None) -> float:
        """The share that training is held to."""
        return 1.0 if keep is None else keep

    def compress(self, hidden: Tensor) -> Tensor:
        """relu(h - softplus(t)), t per channel."""
        return F.relu(hidden - along(F.softplus(self.shrinkage), hidden.ndim, self.axis))

    def penalty(self, passed: Tensor, positive: Tensor) -> Tensor:
        """E over positives of mean |h'|, for as long as more than the searched share is non-zero."""
        values = passed[positive]
        if len(values) == 0:
            return passed.new_zeros(())
        excess = (values > 0).to(values.dtype).mean() - (self.keep or 0.0)
        # Scaled by the mean so that the pull does not depend on the size of the activations.
        return torch.clamp(excess.detach(), min=0.0) * 100 * values.mean() / values.detach().mean().clamp(min=1e-6)

    def lower(self) -> Lowered:
        """Keep every channel; shrink in the artifact."""
        amount = along(F.softplus(self.shrinkage.detach()), len(self.shape) + 1, self.axis)
        shrink = _Shrink(amount.squeeze(0))
        return Lowered(None, self.exported_head(None, shrink))


MODES: Mapping[str, type[GCGate]] = {"channel": ChannelGC, "activation": ActivationGC}


class _View(nn.Module):
    """Activations [N, *shape] as the head sees them: channels first, tokens [T, C] as a map of T pixels."""

    def __init__(self, shape: Sequence[int], axis: int) -> None:
        super().__init__()
        self.moves, self.shape = axis > 0, _as_map(shape, axis)
        self.axis = axis + 1

    def forward(self, hidden: Tensor) -> Tensor:
        if not self.moves:
            return hidden
        last = hidden.movedim(self.axis, -1)
        # With the channels last, as a device has its maps, the new axis goes between: only names change.
        return last.flatten(1, -2).unsqueeze(2).permute(0, 3, 1, 2)


class Look(nn.Module):
    """What the head sees before it pools: the activations, or, on a raw plane, a few learned filters over them.

    A plane [1, frames, coefficients] straight from a front end has no features yet, and its mean and maximum tell
    little. Two layers of filters do: at 99 % recall of keywords, in cross-validation on real speech, one layer stopped
    27 % of other words and two, with three frames of the first in each filter of the second, 37 %, for 1.3 % of the
    multiplications of a DS-CNN. Everywhere else this is the identity.

    Args:
        shape: of one sample at the site.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape, self.macs = tuple(shape), 0
        self.filters: nn.Sequential | None = None
        if len(shape) == 3 and shape[0] == 1:
            layers = []
            for kernel, stride in ((LOOK_FRAMES, LOOK_STRIDE), (LOOK_CONTEXT, 1)):
                channels, frames, width = self.shape
                kernel, stride = min(kernel, frames), min(stride, frames)
                layers += [
                    nn.Conv2d(channels, LOOK_FILTERS, (kernel, width), (stride, 1), bias=False),
                    nn.BatchNorm2d(LOOK_FILTERS),  # without it the activations can die
                    nn.ReLU(),
                ]
                self.shape = (LOOK_FILTERS, (frames - kernel) // stride + 1, 1)
                self.macs += math.prod(self.shape) * channels * kernel * width
            self.filters = nn.Sequential(*layers)

    @property
    def is_identity(self) -> bool:
        """Whether the head sees the activations as they are."""
        return self.filters is None

    def scaled(self, factor: Tensor) -> Look:
        """Return a copy whose output channels are larger by a factor [filters]; the identity as it is."""
        if self.filters is None:
            return self
        copied = copy.deepcopy(self)
        assert copied.filters is not None
        norm = copied.filters[-2]
        assert isinstance(norm, nn.BatchNorm2d)
        with torch.no_grad():
            norm.weight.mul_(factor)
            norm.bias.mul_(factor)
        return copied

    def forward(self, hidden: Tensor) -> Tensor:
        """[N, *site.shape] to [N, *shape]."""
        return hidden if self.filters is None else self.filters(hidden)


class Pool(nn.Module):
    """Pool [N, *shape] to features: mean and maximum.

    A feature map [C, H, W] is pooled over its plane, channels by time [C, T] are pooled over time. Features [F] are
    taken as they are. Kernels are fixed, so that the exported operators are plain pooling on any core; they do not
    depend on how many of the channels are left. A class token, which is the first pixel of its map, comes behind mean
    and maximum.
    """

    def __init__(self, shape: Sequence[int], class_token: bool = False) -> None:
        super().__init__()
        self.shape, self.class_token = tuple(shape), class_token
        self.parts = (1 if len(self.shape) == 1 else 2) + class_token
        kernel = _kernel(self.shape)
        self.mean: nn.Module | None = None
        self.maximum: nn.Module | None = None
        if len(self.shape) == 3:
            self.mean, self.maximum = nn.AvgPool2d(kernel), nn.MaxPool2d(kernel)
        elif len(self.shape) == 2:
            self.mean, self.maximum = nn.AvgPool1d(kernel[0]), nn.MaxPool1d(kernel[0])

    def forward(self, hidden: Tensor) -> Tensor:
        """[N, *shape] to [N, features]."""
        if self.mean is None or self.maximum is None:
            return hidden
        pooled = [self.mean(hidden).flatten(1), self.maximum(hidden).flatten(1)]
        return torch.cat([*pooled, hidden[:, :, 0, 0]] if self.class_token else pooled, 1)

    def features_of(self, channels: Sequence[int]) -> Tensor:
        """Return the indices of the features that the given channels make."""
        index = torch.as_tensor(channels, dtype=torch.long)
        if self.mean is None:
            return index
        per_channel = _pooled_size(self.shape) // 2 // self.shape[0]
        part = (index[:, None] * per_channel + torch.arange(per_channel)).flatten()
        return torch.cat([part + i * self.shape[0] * per_channel for i in range(self.parts)])


class _Shrink(nn.Module):
    amount: Tensor

    def __init__(self, amount: Tensor) -> None:
        super().__init__()
        self.register_buffer("amount", amount)

    def forward(self, hidden: Tensor) -> Tensor:
        return F.relu(hidden - self.amount)


class _Head(nn.Module):
    """What is exported: kept activations [N, kept, ...] to (passed, logit [N, 1])."""

    def __init__(
        self, view: nn.Module, look: nn.Module, pool: nn.Module, linear: nn.Linear, shrink: nn.Module | None
    ) -> None:
        super().__init__()
        self.view, self.look, self.pool, self.linear, self.shrink = view, look, pool, linear, shrink

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        passed = hidden if self.shrink is None else self.shrink(hidden)
        return passed, self.linear(self.pool(self.look(self.view(passed))))


class _EvenPool(nn.Module):
    """:class:`Pool` of a map, each mean raised to the size of the maxima.

    Both end in one int8 tensor with one scale, in which a mean over a large map would be a handful of steps.
    """

    def __init__(self, pool: Pool, gain: Tensor) -> None:
        super().__init__()
        channels, kernel, self.class_token = len(gain), _kernel(pool.shape), pool.class_token
        self.mean = nn.Conv2d(channels, channels, kernel, groups=channels, bias=False)
        self.maximum = nn.MaxPool2d(kernel)
        with torch.no_grad():
            self.mean.weight.copy_((gain / math.prod(kernel)).view(-1, 1, 1, 1).expand_as(self.mean.weight))

    def forward(self, hidden: Tensor) -> Tensor:
        pooled = [self.mean(hidden), self.maximum(hidden)]
        return torch.cat([*pooled, hidden[:, :, :1, :1]] if self.class_token else pooled, 1).flatten(1)


def _as_map(shape: Sequence[int], axis: int) -> tuple[int, ...]:
    """Return the shape in which a head pools: that of a map where the channels do not come first."""
    return tuple(shape) if axis == 0 else (shape[axis], math.prod(shape) // shape[axis], 1)


def _kernel(shape: Sequence[int]) -> Any:
    if len(shape) == 3:
        return (shape[1], shape[2])
    return tuple(shape[1:])


def _pooled_size(shape: Sequence[int]) -> int:
    if len(shape) == 1:
        return shape[0]
    return 2 * math.prod(shape) // math.prod(_kernel(shape))
