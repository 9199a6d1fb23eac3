"""The layer of Feature Boosting and Suppression; see :mod:`gatesearch.gates.fbs` for the equations."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatesearch.gates.fbs.inner import Inner
from gatesearch.gates.fbs.unfold import Start

LASSO = 1e-8  # lambda, as in the ports of the released code
DENSITY_STEP = 0.1
# The released code draws phi with a spread of .05 because its gates start from nothing. Here they start from |gamma|,
# and the gradient of phi does not depend on its size: at first phi only has to break ties.
PHI_SPREAD = 0.05 * 0.01


class FBSConv2d(nn.Module):
    """A convolution whose losing channels are zero, and the batch norm behind it.

    Args:
        inner: convolves.
        start: the parts of the trained layer, from :func:`unfold`.
        density: share of the channels (or groups of channels) that win, in (0, 1]; rounded up.
        block: channels in a group that wins or loses together; the last group may be smaller.
    """

    traced_whole = True
    absorbs_norm = True
    observed: Tensor
    sizes: Tensor

    def __init__(self, inner: nn.Module, start: Start, density: float, block: int = 1) -> None:
        super().__init__()
        self.density, self.block, self.channels = density, block, len(start.scale)
        self.inner = cast(Inner, inner)
        self.norm = start.norm
        like = start.conv.weight
        self.predictor = nn.Linear(start.conv.in_channels, self.channels, device=like.device, dtype=like.dtype)
        nn.init.trunc_normal_(self.predictor.weight, std=PHI_SPREAD, a=-2 * PHI_SPREAD, b=2 * PHI_SPREAD)
        self.predictor.bias = nn.Parameter(start.scale.clone())
        self.beta = nn.Parameter(start.shift.clone())
        sizes = [min(block, self.channels - first) for first in range(0, self.channels, block)]
        self.register_buffer("sizes", torch.tensor(sizes, device=like.device), persistent=False)
        # Samples, winners, channels that are not zero: whole numbers, so that no change of precision touches them.
        self.register_buffer("observed", torch.zeros(3, dtype=torch.int64, device=like.device), persistent=False)
        self._training_density = density
        self._won: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C_in, H, W] to [N, C, H', W'], losers being zero; the reference, and the form that trains."""
        boost = self.boost(x)
        winners = self.winners(boost, self._training_density if self.training else self.density)
        z = self.norm(self.inner(x, winners))
        won = boost * winners
        y = z * _per_channel(won, z) + _per_channel(self.beta * winners, z)
        if self.training:
            self._won = won
        elif not torch.compiler.is_compiling():
            self._observe(winners, y)
        return y

    def boost(self, x: Tensor, inputs: Tensor | None = None) -> Tensor:
        """Return g [N, C] for an input [N, C_in, H, W]; channels that are not among ``inputs`` are zero."""
        if torch.is_autocast_enabled(x.device.type):
            # In half precision channels would tie, and rounding would decide which of them win.
            with torch.autocast(x.device.type, enabled=False):
                return self.boost(x, inputs)
        weight = self.predictor.weight if inputs is None else self.predictor.weight[:, inputs]
        return F.relu(F.linear(x.to(weight.dtype).mean((2, 3)), weight, self.predictor.bias))

    @torch.no_grad()
    def winners(self, boost: Tensor, density: float) -> Tensor:
        """Return which channels win, boolean [N, C], given g [N, C]: exactly k groups, also where groups tie.

        The released code takes g above the (k+1)-th largest. ReLU makes many a g zero, so that can be fewer than k.
        Here the first of equals win, in any batch and on any core. The choice is a step and has no gradient, not even
        a straight-through one: the loss reaches the predictor through the factor g of the winners alone.
        """
        groups = len(self.sizes)
        count = winning_groups(density, groups)
        if count == groups:
            return torch.ones_like(boost, dtype=torch.bool)
        padded = F.pad(boost, (0, groups * self.block - self.channels))
        score = padded.unflatten(1, (groups, self.block)).sum(2) / self.sizes
        if torch.compiler.is_compiling():
            # Exported formats have no stable sort, but their TopK promises the first of equals; torch's does not.
            best = score.topk(count, dim=1).indices
        else:
            best = score.sort(dim=1, descending=True, stable=True).indices[:, :count]
        won = torch.zeros_like(score, dtype=torch.bool).scatter(1, best, True)
        return won.repeat_interleave(self.block, dim=1)[:, : self.channels]

    @torch.no_grad()
    def skip(self, x: Tensor, inputs: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute the winning channels from the channels that are present, for one sample, as in evaluation.

        Args:
            x: [1, k_in, H, W], the input channels that are present; all others are zero.
            inputs: their indices [k_in], ascending; None where all are present.

        Returns:
            The winning channels [k, H', W'] and their indices [k], ascending.
        """
        boost = self.boost(x, inputs)
        winners = self.winners(boost, self.density)[0].nonzero().flatten()
        z = self.inner.compute_winners(x, inputs, winners)
        if isinstance(self.norm, nn.BatchNorm2d):
            mean, var = self.norm.running_mean, self.norm.running_var
            assert mean is not None and var is not None
            z = F.batch_norm(z, mean[winners], var[winners], eps=self.norm.eps)
        return (z * boost[:, winners, None, None] + self.beta[winners, None, None])[0], winners

    def loss(self) -> Tensor:
        """Return lambda sum |a g|, a mean over samples so that it does not grow with the batch, and the inner loss."""
        lasso = self.beta.new_zeros(()) if self._won is None else LASSO * self._won.abs().sum(1).mean()
        return lasso + self.inner.loss()

    def control_parameters(self) -> Iterator[nn.Parameter]:
        """Yield those of the inner gate. The predictor is not one: it learns at the weights' rate, as gamma does."""
        return self.inner.control_parameters()

    def anneal(self, progress: float) -> None:
        """Let the density in training fall from 1 to d over the first half of a training, in steps of .1.

        Evaluation is always at d, and so is training that never calls this.
        """
        self._training_density = training_density(self.density, progress)
        self.inner.anneal(progress)

    def reset(self) -> None:
        """Forget what was observed."""
        self.observed.zero_()
        self.inner.reset()

    def report(self) -> dict[str, float]:
        """Return ``density``, ``winners_per_sample`` and ``nonzero``, the share of channels with any value but zero.

        The inner gate's report is part of it; before any sample it is all of it.
        """
        samples, winners, nonzero = self.observed.tolist()
        report = dict(self.inner.report())
        if samples:
            report["density"] = winners / (samples * self.channels)
            report["winners_per_sample"] = winners / samples
            report["nonzero"] = nonzero / (samples * self.channels)
        return report

    def __getstate__(self) -> dict[str, Any]:
        """Leave the last forward's graph out, which can neither be copied nor saved."""
        return {**self.__dict__, "_won": None}

    @torch.no_grad()
    def _observe(self, winners: Tensor, y: Tensor) -> None:
        nonzero = (y != 0).any((2, 3)).sum()
        self.observed += torch.stack([nonzero.new_tensor(len(y)), winners.sum(), nonzero])


def skip_through(modules: Iterable[nn.Module], x: Tensor) -> tuple[Tensor, Tensor | None]:
    """Run one sample through FBS layers of which each reads only what the one before it computed.

    Args:
        modules: :class:`FBSConv2d`, and between them anything that works channel by channel, knows no channel by its
            index and leaves zero at zero, such as ReLU, pooling and dropout.
        x: one sample, [1, C_in, H, W].

    Returns:
        What is present at the end, [1, k, H', W'], and its indices [k]; None where all is.

    >>> from gatesearch.gates.fbs import FBS, FBSParams
    >>> from gatesearch.graph.sites import LayerSite
    >>> conv = nn.Conv2d(3, 4, 3)
    >>> site = LayerSite("0", "conv2d", (3, 8, 8), (4, 6, 6), 3888, 112)
    >>> fbs = FBS().build(site, FBSParams(density=0.5), conv).eval()
    >>> present, channels = skip_through([fbs, nn.ReLU()], torch.rand(1, 3, 8, 8))
    >>> present.shape, channels.shape
    (torch.Size([1, 2, 6, 6]), torch.Size([2]))
    """
    channels: Tensor | None = None
    for module in modules:
        if isinstance(module, FBSConv2d):
            y, channels = module.skip(x, channels)
            x = y.unsqueeze(0)
        else:
            x = module(x)
    return x, channels


def winning_groups(density: float, groups: int) -> int:
    """Return k = ceil(d groups), one at least.

    >>> winning_groups(0.7, 10), winning_groups(0.5, 3)
    (7, 2)
    """
    return max(1, math.ceil(density * groups - 1e-9))


def training_density(density: float, progress: float) -> float:
    """Return the density in training: from 1 down to ``density`` in steps of .1 over the first half of ``progress``.

    >>> [training_density(0.75, p) for p in (0.0, 0.1, 0.3, 0.49, 0.5, 1.0)]
    [1.0, 1.0, 0.9, 0.8, 0.75, 0.75]
    """
    if progress >= 0.5:
        return density
    line = 1 - (1 - density) * 2 * progress
    steps = math.ceil(line / DENSITY_STEP - 1e-9)
    return max(density, round(steps * DENSITY_STEP, 9))


def _per_channel(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like.dtype)[..., None, None]
