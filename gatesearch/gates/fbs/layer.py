"""The layer of Feature Boosting and Suppression; see :mod:`gatesearch.gates.fbs` for the equations."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatesearch.gates.fbs.inner import Inner
from gatesearch.gates.fbs.unfold import TrainedParts

LASSO = 1e-8  # lambda, the weight of the sum of gains in the loss; its value is that of the ports of the released code
DENSITY_STEP = 0.1
# phi is the weight of the predictor. In the released code the gains start from phi alone, which is drawn with a spread
# of 0.05. In this layer the gains start from |gamma|, and the gradient of phi does not depend on phi's size. So the
# initial phi only has to break ties between channels with equal gains, and a smaller spread suffices.
PHI_SPREAD = 0.05 * 0.01


class FBSConv2d(nn.Module):
    """A convolution and the batch normalisation behind it, with losing channels set to zero.

    Args:
        inner: the convolution, an :class:`Inner`.
        start: the parts of the trained layer, from :func:`unfold`.
        density: share of the channels (or groups of channels) that win, in (0, 1]; rounded up.
        block: channels in a group that wins or loses together; the last group may be smaller.
    """

    traced_whole = True
    absorbs_norm = True
    observed: Tensor
    sizes: Tensor

    def __init__(self, inner: nn.Module, start: TrainedParts, density: float, block: int = 1) -> None:
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
        # Counts of samples, winning channels and non-zero channels. They are integers, so that converting the module
        # to another float precision leaves them exact.
        self.register_buffer("observed", torch.zeros(3, dtype=torch.int64, device=like.device), persistent=False)
        self._training_density = density
        self._won: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C_in, H, W] to [N, C, H', W'], with zeros in losing channels; see :meth:`skip` for winners alone."""
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
        """Return the gains g [N, C] for an input [N, C_in, H, W], or [N, k_in, H, W] with the channels ``inputs``."""
        if torch.is_autocast_enabled(x.device.type):
            # In half precision, gains of different channels could become equal, and rounding would decide which win.
            with torch.autocast(x.device.type, enabled=False):
                return self.boost(x, inputs)
        weight = self.predictor.weight if inputs is None else self.predictor.weight[:, inputs]
        return F.relu(F.linear(x.to(weight.dtype).mean((2, 3)), weight, self.predictor.bias))

    @torch.no_grad()
    def winners(self, boost: Tensor, density: float) -> Tensor:
        """Return which channels win, boolean [N, C], given the gains g [N, C]; exactly k groups win, also with ties.

        In the released code, a channel wins if its g exceeds the (k+1)-th largest g. Since the ReLU makes many g zero,
        fewer than k channels may win in that code. In this method, exactly k groups win. If groups have equal gains,
        the first groups win, in any batch and on any core. The choice is a step function without a gradient, not even a
        straight-through one. The loss reaches the predictor only through the factor g of the winners.
        """
        groups = len(self.sizes)
        count = winning_groups(density, groups)
        if count == groups:
            return torch.ones_like(boost, dtype=torch.bool)
        padded = F.pad(boost, (0, groups * self.block - self.channels))
        score = padded.unflatten(1, (groups, self.block)).sum(2) / self.sizes
        if torch.compiler.is_compiling():
            # Exported formats have no stable sort, but their TopK picks the first of equal values. PyTorch's topk
            # does not promise that, hence the stable sort below.
            best = score.topk(count, dim=1).indices
        else:
            best = score.sort(dim=1, descending=True, stable=True).indices[:, :count]
        won = torch.zeros_like(score, dtype=torch.bool).scatter(1, best, True)
        return won.repeat_interleave(self.block, dim=1)[:, : self.channels]

    @torch.no_grad()
    def skip(self, x: Tensor, inputs: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute the winning channels of one sample from the input channels that are present, as in evaluation.

        Args:
            x: the input channels that are present, [1, k_in, H, W]; all others are zero.
            inputs: indices of the input channels that are present, [k_in], ascending; None where all are present.

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
        """Return lambda sum |a g|, as a mean over samples, plus the loss of the inner convolution."""
        lasso = self.beta.new_zeros(()) if self._won is None else LASSO * self._won.abs().sum(1).mean()
        return lasso + self.inner.loss()

    def control_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the control parameters of the inner convolution; the predictor trains in the same way as weights."""
        return self.inner.control_parameters()

    def anneal(self, progress: float) -> None:
        """Let the density in training fall from 1 to d over the first half of a training, in steps of 0.1.

        Evaluation always uses d. A training that never calls this method uses d from its start.
        """
        self._training_density = training_density(self.density, progress)
        self.inner.anneal(progress)

    def reset(self) -> None:
        """Clear all observations."""
        self.observed.zero_()
        self.inner.reset()

    def report(self) -> dict[str, float]:
        """Return ``density``, ``winners_per_sample`` and ``nonzero``, the share of channels with a non-zero value.

        The report includes the inner convolution's report. Before the first sample, it holds only the inner report.
        """
        samples, winners, nonzero = self.observed.tolist()
        report = dict(self.inner.report())
        if samples:
            report["density"] = winners / (samples * self.channels)
            report["winners_per_sample"] = winners / samples
            report["nonzero"] = nonzero / (samples * self.channels)
        return report

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the autograd graph of the last forward, which can neither be copied nor saved."""
        return {**self.__dict__, "_won": None}

    @torch.no_grad()
    def _observe(self, winners: Tensor, y: Tensor) -> None:
        nonzero = (y != 0).any((2, 3)).sum()
        self.observed += torch.stack([nonzero.new_tensor(len(y)), winners.sum(), nonzero])


def skip_through(modules: Iterable[nn.Module], x: Tensor) -> tuple[Tensor, Tensor | None]:
    """Run one sample through FBS layers, where each layer reads only the channels that the one before it computed.

    Args:
        modules: :class:`FBSConv2d` layers with other modules between them. The other modules have to treat all channels
            alike and one by one, and to map zero to zero, such as ReLU, pooling and dropout.
        x: one sample, [1, C_in, H, W].

    Returns:
        The channels that are present at the end, [1, k, H', W'], and their indices [k]; None instead of indices where
        all channels are present.

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
    """Return the number of groups that win: k = ceil(density x groups), at least 1.

    >>> winning_groups(0.7, 10), winning_groups(0.5, 3)
    (7, 2)
    """
    return max(1, math.ceil(density * groups - 1e-9))


def training_density(density: float, progress: float) -> float:
    """Return the density in training: it falls from 1 to ``density`` in steps of 0.1 until ``progress`` is 0.5.

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
