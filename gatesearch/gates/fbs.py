"""Feature Boosting and Suppression: per sample, only the channels that win are computed. After Gao et al. 2018.

The paper is arXiv 1810.05331; what could be read of it is its abstract and the released code, which this follows:

    u = mean of x over height and width      g = relu(phi u + rho)      a = the k = ceil(d C) largest of g
    y = a g z + a beta                       z = batch norm without affine part of conv(x)
    loss                                     lambda sum |a g|

So g takes the place of the batch norm's gamma, and a loser is zero for the ReLU behind and need not be computed at all.
Where no batch norm follows, z is the convolution without its bias, and the bias is beta. The mask ``a`` has no
gradient, so losers learn nothing from a sample. Block 16 lets runs of 16 channels win or lose together, by the mean of
their g: dense kernels turn that into time as it is; of channels that win one by one the filters have to be gathered.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatesearch.gates.base import Call, KernelCall, LayerWork
from gatesearch.gates.kind import Figure, GateKind
from gatesearch.gates.params import GateError, GateParams, param
from gatesearch.graph.sites import LayerSite, reads_all_channels
from gatesearch.plan import Scalar

LASSO = 1e-8  # lambda, as in the ports of the released code
DENSITY_STEP = 0.1
SKIPS: Mapping[int, str] = {1: "channel", 16: "channel-block-16"}  # by block
KERNELS: Mapping[int, str] = {1: "fbs_single", 16: "fbs"}  # by block
BITS = (8, 8)
# The released code draws phi with .05 because its gates start from nothing. Here |gamma| is where they start, and the
# gradient of phi does not depend on its size: all that it has to do at first is break ties.
PHI_SPREAD = 0.05 * 0.01


@dataclass(frozen=True)
class FBSParams(GateParams):
    """What is chosen for one gate."""

    density: float = param(
        1.0, choices=(0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), above=0, high=1, doc="d, share of the channels that win"
    )
    block: int = param(
        1, choices=(16, 1), among=tuple(SKIPS), doc="channels that win or lose together", new_program=True
    )


class FBS(GateKind[LayerSite, FBSParams]):
    """The kind: any convolution of two channels or more that reads all of its input channels (no groups)."""

    name = "fbs"
    site_type = LayerSite
    Params = FBSParams
    figures = (
        Figure("density", "share", "Channels computed", headline=True),
        Figure("winners_per_sample", "channels"),
        Figure("nonzero", "share"),
    )

    def fits(self, site: LayerSite) -> bool:
        """Say whether channels can win or lose there."""
        return site.op == "conv2d" and site.channels >= 2 and reads_all_channels(site)

    def choices(self, site: LayerSite) -> dict[str, tuple[Scalar, ...]]:
        """Return the searched values; blocks only where there are several."""
        choices = super().choices(site)
        return {**choices, "block": tuple(block for block in sorted(SKIPS, reverse=True) if site.channels > block)}

    def build(
        self, site: LayerSite, params: FBSParams, layer: nn.Module | None = None, norm: nn.BatchNorm2d | None = None
    ) -> FBSConv2d:
        """Build the module, which starts as the function that the trained layers were; see :func:`unfold`."""
        start = unfold(layer, norm)
        return FBSConv2d(start.conv, start, params.density, params.block)

    def work(self, site: LayerSite, params: FBSParams, observed: Mapping[str, float] | None = None) -> LayerWork:
        """Return the winners' filters, the predictor, and a multiplication by g for each of their values."""
        work = work_of((Call(BITS),), site, params, observed)
        if not site.geometry:
            return work
        # The kernel of a layer in which all win has the predictor to run all the same.
        call = KernelCall(KERNELS[params.block], site.geometry, (), (("outputs", work.density),))
        return replace(work, kernels=(call,))


class Inner(Protocol):
    """The convolution inside an FBS layer: it may gate on its own, and is told which channels win."""

    def __call__(self, x: Tensor, winners: Tensor | None = None) -> Tensor:
        """Map [N, C_in, H, W] to [N, C, H', W'] without a bias; losers by ``winners`` [N, C] are not read."""

    def loss(self) -> Tensor:
        """Return what the last forward in training adds to the loss, a scalar."""

    def steering(self) -> Iterator[nn.Parameter]:
        """Yield the parameters with a learning rate of their own."""

    def anneal(self, progress: float) -> None:
        """Take note of how far a training has come, from 0 to 1."""

    def reset(self) -> None:
        """Forget what was observed."""

    def report(self) -> Mapping[str, float]:
        """Return what was observed in evaluation since :meth:`reset`."""

    def kept(self, x: Tensor, inputs: Tensor | None, winners: Tensor) -> Tensor:
        """Map [1, k_in, H, W], the channels ``inputs`` [k_in], to [1, k, H', W'], the channels ``winners`` [k]."""


class PlainConv2d(nn.Conv2d):
    """A convolution without bias and without a gate of its own, as an :class:`Inner`."""

    def forward(self, input: Tensor, winners: Tensor | None = None) -> Tensor:
        """Compute every channel, whoever wins."""
        return super().forward(input)

    def loss(self) -> Tensor:
        """Nothing to add."""
        return self.weight.new_zeros(())

    def steering(self) -> Iterator[nn.Parameter]:
        """Nothing to steer."""
        return iter(())

    def anneal(self, progress: float) -> None:
        """Nothing to anneal."""

    def reset(self) -> None:
        """Nothing to forget."""

    def report(self) -> Mapping[str, float]:
        """Nothing was observed."""
        return {}

    def kept(self, x: Tensor, inputs: Tensor | None, winners: Tensor) -> Tensor:
        """Gather filters, and their input channels."""
        return self._conv_forward(x, gathered(self.weight, inputs, winners), None)


class Start(NamedTuple):
    """A trained convolution and batch norm, taken apart for FBS: ``scale * norm(conv(x)) + shift`` is what they were.

    ``norm`` has no affine part; it is the identity where there was none. ``scale`` [C] is not negative.
    """

    conv: PlainConv2d
    norm: nn.Module
    scale: Tensor
    shift: Tensor


class FBSConv2d(nn.Module):
    """A convolution of which only the winning channels count, and the batch norm behind it.

    Args:
        inner: convolves.
        start: what the layer was; of its parts, ``norm``, ``scale`` and ``shift`` are taken over.
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
        """Map [N, C_in, H, W] to [N, C, H', W'], a loser being zero; computes all, as reference and for training."""
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
            # In half precision channels would tie, and the winners would hang on the rounding.
            with torch.autocast(x.device.type, enabled=False):
                return self.boost(x, inputs)
        weight = self.predictor.weight if inputs is None else self.predictor.weight[:, inputs]
        return F.relu(F.linear(x.to(weight.dtype).mean((2, 3)), weight, self.predictor.bias))

    @torch.no_grad()
    def winners(self, boost: Tensor, density: float) -> Tensor:
        """Return who wins, boolean [N, C], given g [N, C]: exactly k groups, also where groups tie.

        The released code asks for g > the (k+1)-th largest; as ReLU makes many a g zero, that can leave fewer than k.
        Here the first of equals win, in any batch and on any core.
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
    def skipping(self, x: Tensor, inputs: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute only what wins from only what is there, for one sample, as in evaluation.

        Args:
            x: [1, k_in, H, W], the input channels that are present; all others are zero.
            inputs: their indices [k_in], ascending; None where all are present.

        Returns:
            The winning channels [k, H', W'] and their indices [k], ascending.
        """
        boost = self.boost(x, inputs)
        winners = self.winners(boost, self.density)[0].nonzero().flatten()
        z = self.inner.kept(x, inputs, winners)
        if isinstance(self.norm, nn.BatchNorm2d):
            mean, var = self.norm.running_mean, self.norm.running_var
            assert mean is not None and var is not None
            z = F.batch_norm(z, mean[winners], var[winners], eps=self.norm.eps)
        return (z * boost[:, winners, None, None] + self.beta[winners, None, None])[0], winners

    def loss(self) -> Tensor:
        """lambda sum |a g|, the mean over samples, so that it does not grow with the batch; and the inner gate's."""
        lasso = self.beta.new_zeros(()) if self._won is None else LASSO * self._won.abs().sum(1).mean()
        return lasso + self.inner.loss()

    def steering(self) -> Iterator[nn.Parameter]:
        """The inner gate's: the predictor learns at the weights' rate, as gamma does."""
        return self.inner.steering()

    def anneal(self, progress: float) -> None:
        """Let the density in training fall from 1 to d over the first half of a training, in steps of .1.

        Evaluation is always at d, and so is training for as long as nobody anneals.
        """
        self._training_density = annealed(self.density, progress)
        self.inner.anneal(progress)

    def reset(self) -> None:
        """Forget what was observed."""
        self.observed.zero_()
        self.inner.reset()

    def report(self) -> dict[str, float]:
        """Return ``density``, ``winners_per_sample`` and ``nonzero``, the share of channels with any value but zero.

        Beside them what the inner gate reports; nothing of this layer where no sample came by.
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
            y, channels = module.skipping(x, channels)
            x = y.unsqueeze(0)
        else:
            x = module(x)
    return x, channels


def unfold(layer: nn.Module | None, norm: nn.BatchNorm2d | None) -> Start:
    """Take a trained convolution and its batch norm apart, so that their function is that of an FBS layer at density 1.

    g cannot be negative, so the sign of gamma goes into the filter and, as z changes sign with it, the running mean.

    Raises:
        GateError: the layer is no convolution, has groups, or its batch norm keeps no running statistics.
    """
    if not isinstance(layer, nn.Conv2d) or layer.groups != 1:
        raise GateError(f"needs a convolution without groups, not {layer}")
    weight = layer.weight.detach()
    bias = weight.new_zeros(layer.out_channels) if layer.bias is None else layer.bias.detach()
    conv = PlainConv2d(
        layer.in_channels,
        layer.out_channels,
        cast(tuple[int, int], layer.kernel_size),
        cast(tuple[int, int], layer.stride),
        cast(tuple[int, int] | str, layer.padding),
        cast(tuple[int, int], layer.dilation),
        bias=False,
        padding_mode=cast(Any, layer.padding_mode),
        device=weight.device,
        dtype=weight.dtype,
    )
    if norm is None:
        conv.weight = nn.Parameter(weight.clone())
        return Start(conv, nn.Identity(), torch.ones_like(bias), bias)
    if norm.running_mean is None or norm.running_var is None:
        raise GateError("the batch norm behind it keeps no running statistics, so a batch would decide")
    gamma = torch.ones_like(bias) if norm.weight is None else norm.weight.detach()
    beta = torch.zeros_like(bias) if norm.bias is None else norm.bias.detach()
    sign = torch.where(gamma < 0, -1.0, 1.0).to(gamma.dtype)
    conv.weight = nn.Parameter(weight * sign.view(-1, 1, 1, 1))
    plain = nn.BatchNorm2d(
        norm.num_features, norm.eps, norm.momentum, affine=False, device=gamma.device, dtype=norm.running_mean.dtype
    )
    state = norm.state_dict()
    state["running_mean"] = (norm.running_mean - bias) * sign
    plain.load_state_dict({key: state[key] for key in plain.state_dict()})
    return Start(conv, plain, gamma.abs(), beta)


def work_of(
    calls: Sequence[Call], site: LayerSite, params: FBSParams, observed: Mapping[str, float] | None
) -> LayerWork:
    """Return what FBS leaves of a layer whose own work, channel by channel, is ``calls``.

    What a smaller input saves is the caller's to price, by the density of the layer before.
    """
    block = params.block
    groups = math.ceil(site.channels / block)
    count = winning_groups(params.density, groups)
    # Where the last group is smaller, the least work is when it wins.
    least = (count - 1) * block + site.channels - (groups - 1) * block
    share = (observed or {}).get("density", least / site.channels)
    predictor = site.shape_in[0] * site.channels
    return LayerWork(
        calls=tuple(Call(call.bits, ((SKIPS[block], share), *call.left)) if count < groups else call for call in calls),
        macs=predictor + site.elements * share,
        params=predictor + site.channels,
        density=share,
    )


def winning_groups(density: float, groups: int) -> int:
    """Return k = ceil(d groups), one at least.

    >>> winning_groups(0.7, 10), winning_groups(0.5, 3)
    (7, 2)
    """
    return max(1, math.ceil(density * groups - 1e-9))


def annealed(density: float, progress: float) -> float:
    """Return the density in training: from 1 down to ``density`` in steps of .1 over the first half of ``progress``.

    >>> [annealed(0.75, p) for p in (0.0, 0.1, 0.3, 0.49, 0.5, 1.0)]
    [1.0, 1.0, 0.9, 0.8, 0.75, 0.75]
    """
    if progress >= 0.5:
        return density
    line = 1 - (1 - density) * 2 * progress
    steps = math.ceil(line / DENSITY_STEP - 1e-9)
    return max(density, round(steps * DENSITY_STEP, 9))


def gathered(weight: Tensor, inputs: Tensor | None, winners: Tensor) -> Tensor:
    """Return the filters [k, k_in, ...] of ``winners`` [k] over the input channels ``inputs`` [k_in], None for all."""
    return weight[winners] if inputs is None else weight[winners[:, None], inputs]


def _per_channel(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like.dtype)[..., None, None]
