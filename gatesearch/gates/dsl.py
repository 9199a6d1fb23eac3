"""Dynamic Switch Layers (arXiv 2404.04405): a gate for data without labels, and a light path beside the heavy one.

Only the abstract of that paper could be read; the equations are this project's reading of it:

    h' = m * h                 m as in Gated Compression
    P(light) = sigmoid(-z)     z = w . norm(pool(h')) + b, so that a sample leaves where z <= theta, as at every gate
    e_L, e_H                   error of each sample by the light decoder from h', by the rest of the network
    t = 1[e_L - e_H <= q]      q: moving average of the batch's quantile at the light share
    loss                       e_L + alpha BCE(P(light), t) + beta C + kd |D_light(h') - D_heavy(h')|^2

The heavy path's own error is the network's loss already. The labels t come from how much better the heavy path does on
a sample. A penalty on the mean use of the heavy path instead would be least for a switch that says the same of every
sample.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatesearch.gates.gc import GC, ChannelGC, GCParams
from gatesearch.gates.kind import GateKind
from gatesearch.gates.light_decoder import light_decoder, light_layers
from gatesearch.gates.modules import GateContext, GateOutput, Lowered
from gatesearch.gates.params import GateParams, param
from gatesearch.gates.thresholds import threshold_of_share, weighted_quantile
from gatesearch.gates.work import CutWork
from gatesearch.graph.sites import CutSite
from gatesearch.plan import Scalar

QUANTILE_MEMORY = 0.9  # share of the old value in the moving quantile that labels come from


@dataclass(frozen=True)
class DSLParams(GateParams):
    """Parameters of one gate."""

    share: float = param(
        0.7, choices=(0.8, 0.7, 0.5), above=0, below=1, aim="leaving", doc="of the samples that are to leave"
    )
    width: float = param(
        0.25,
        choices=(0.25, 0.5, 1.0),
        above=0,
        high=1,
        new_program=True,
        doc="channels of the light decoder over those of the site",
    )
    keep: float = param(1.0, choices=(0.5, 1.0), above=0, high=1, doc="share of the channels that the mask keeps")


class DSL(GateKind[CutSite, DSLParams]):
    """The kind: cut sites of channels by time [C, T, 1] in a network that gives [C', S, 1], S a multiple of T."""

    name = "dsl"
    site_type = CutSite
    Params = DSLParams

    def fits(self, site: CutSite) -> bool:
        """Say whether upsampling leads from the site to the output."""
        if len(site.shape) != 3 or len(site.output) != 3:
            return False
        return site.shape[2] == site.output[2] == 1 and site.output[1] % site.shape[1] == 0

    def choices(self, site: CutSite) -> dict[str, tuple[Scalar, ...]]:
        """Return the searched values; a single channel cannot be pruned."""
        choices = super().choices(site)
        if site.channels == 1:
            choices["keep"] = (1.0,)
        return choices

    def build(
        self, site: CutSite, params: DSLParams, layer: nn.Module | None = None, norm: nn.BatchNorm2d | None = None
    ) -> DSLGate:
        """Build the gate; see :class:`DSLGate`."""
        return DSLGate(site.shape, site.output, params.share, params.width, params.keep)

    def work(self, site: CutSite, params: DSLParams, observed: Mapping[str, float] | None = None) -> CutWork:
        """Return a GC gate's work for switch and mask, and the light decoder's as the exit's."""
        own = GC().work(site, GCParams(keep=params.keep))
        layers = light_layers(site.shape, site.output, params.width, own.kept_channels)
        return replace(
            own,
            exit_macs=sum(layer.macs for layer in layers),
            exit_params=sum(layer.params for layer in layers),
            leaving=params.share,
        )


class DSLGate(ChannelGC):
    """Mask and switch on activations [N, *shape], and a light decoder for what leaves.

    Args:
        shape: the shape of one sample at the site, [C, T, 1].
        output: the shape of one sample of the network's output, [C', S, 1].
        share: the share of the samples that are to leave, in (0, 1).
        width: channels of the light decoder over those of the site, in (0, 1].
        keep: share of the channels that the mask keeps, in (0, 1].
    """

    q: Tensor

    def __init__(self, shape: Sequence[int], output: Sequence[int], share: float, width: float, keep: float) -> None:
        super().__init__(shape, keep, recall=1.0)
        self.share = share
        self.exit = light_decoder(light_layers(shape, output, width, shape[0]))
        self.register_buffer("q", torch.tensor(math.nan))

    def loss(self, output: GateOutput, context: GateContext) -> Tensor:
        """Return all of the loss but the heavy path's error, which the network's own loss is."""
        assert output.exit is not None
        light = context.errors(output.exit)
        with torch.no_grad():
            gap = light - context.errors(context.final)
            weight = torch.ones_like(gap) if context.weight is None else context.weight
            here = weighted_quantile(gap, weight, self.share)
            self.q.copy_(here if bool(self.q.isnan()) else torch.lerp(here, self.q, QUANTILE_MEMORY))
            heavy = (gap > self.q).to(output.logit.dtype)
        decision = F.binary_cross_entropy_with_logits(output.logit, heavy, weight / weight.mean().clamp(min=1e-6))
        distilled = F.mse_loss(output.exit, context.final.detach())
        compression = self.penalty(output.passed, context.positive)
        return light.mean() + context.alpha * decision + context.beta * compression + context.distillation * distilled

    def control_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the mask: at the weights' rate it never moves."""
        yield self.mask_logits

    def calibrate(self, logit: Tensor, positive: Tensor) -> None:
        """Set theta so that the share of the parameters leaves."""
        self.theta.fill_(threshold_of_share(logit, self.share))

    def lower(self) -> Lowered:
        """Cut the suppressed channels out of the light decoder's first layer, too."""
        channels, head, _ = super().lower()
        light = copy.deepcopy(self.exit)
        assert light is not None
        if channels is not None:
            first = light.get_submodule("first.conv")
            assert isinstance(first, nn.Conv2d)
            first.weight = nn.Parameter(first.weight.detach()[:, list(channels)])
            first.in_channels = len(channels)
        return Lowered(channels, head, light)
