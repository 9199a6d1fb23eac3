"""Dynamic Switch Layers (DSL): a gate that sends easy samples to a small decoder.

The other samples run through the rest of the network. The small decoder is the light path; the rest of the network is
the heavy path. The gate needs no labels of the data; training computes a label t for each sample. Only the abstract of
the paper (arXiv 2404.04405) was available. The equations are this project's interpretation of the abstract:

    h' = m * h                   h: activations at the site; m: a mask of channels, as in Gated Compression
    z = w . norm(pool(h')) + b   the gate's logit, with trained w and b; a sample leaves if z <= theta
    P(light) = sigmoid(-z)       probability that a sample takes the light path
    e_L, e_H                     error of a sample on the light path, and on the heavy path
    t = 1[e_L - e_H <= q]        label of a sample: 1 if the light path is good enough
    q                            quantile of e_L - e_H at the target share of samples; a moving average over batches
    loss                         e_L + alpha BCE(P(light), t) + beta C + kd |D_light(h') - D_heavy(h')|^2

theta is the gate's threshold. BCE is the binary cross-entropy, and C is the compression penalty of Gated Compression.
D_light and D_heavy are the outputs of the two paths. alpha, beta and kd are weights of the training; kd is the weight
of distillation. The network's own loss already contains e_H.

The labels t compare the two paths sample by sample. A penalty on the mean use of the heavy path would not suffice: a
switch that gives every sample the same logit would minimise this penalty.
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

QUANTILE_MEMORY = 0.9  # weight of the old value in the moving average q


@dataclass(frozen=True)
class DSLParams(GateParams):
    """Parameters of a ``dsl`` gate."""

    share: float = param(
        0.7, choices=(0.8, 0.7, 0.5), above=0, below=1, aim="leaving", doc="share of the samples that should leave"
    )
    width: float = param(
        0.25,
        choices=(0.25, 0.5, 1.0),
        above=0,
        high=1,
        new_program=True,
        doc="channels of the light decoder divided by the channels of the site",
    )
    keep: float = param(1.0, choices=(0.5, 1.0), above=0, high=1, doc="share of the channels that the mask keeps")


class DSL(GateKind[CutSite, DSLParams]):
    """The gate kind ``dsl``, for cut sites [C, T, 1], channels by time.

    The network's output has to be [C', S, 1] with S a multiple of T.
    """

    name = "dsl"
    site_type = CutSite
    Params = DSLParams

    def fits(self, site: CutSite) -> bool:
        """Say whether the length of the network's output is a multiple of the site's length."""
        if len(site.shape) != 3 or len(site.output) != 3:
            return False
        return site.shape[2] == site.output[2] == 1 and site.output[1] % site.shape[1] == 0

    def choices(self, site: CutSite) -> dict[str, tuple[Scalar, ...]]:
        """Return the values that a search tries; with a single channel, ``keep`` is always 1."""
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
        """Return the work of switch and mask, as in Gated Compression, and of the light decoder as the exit."""
        own = GC().work(site, GCParams(keep=params.keep))
        layers = light_layers(site.shape, site.output, params.width, own.kept_channels)
        return replace(
            own,
            exit_macs=sum(layer.macs for layer in layers),
            exit_params=sum(layer.params for layer in layers),
            leaving=params.share,
        )


class DSLGate(ChannelGC):
    """A mask and a switch on activations [N, *shape], with a light decoder for the samples that leave.

    Args:
        shape: the shape of one sample at the site, [C, T, 1].
        output: the shape of one sample of the network's output, [C', S, 1].
        share: share of the samples that should leave, in (0, 1).
        width: number of channels of the light decoder, divided by those of the site, in (0, 1].
        keep: share of the channels that the mask keeps, in (0, 1].
    """

    q: Tensor

    def __init__(self, shape: Sequence[int], output: Sequence[int], share: float, width: float, keep: float) -> None:
        super().__init__(shape, keep, recall=1.0)
        self.share = share
        self.exit = light_decoder(light_layers(shape, output, width, shape[0]))
        self.register_buffer("q", torch.tensor(math.nan))

    def loss(self, output: GateOutput, context: GateContext) -> Tensor:
        """Return the loss of the switch and the light path; the heavy path's error is the network's own loss."""
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
        """Yield the mask, which needs a learning rate of its own; at the rate of the weights it would hardly change."""
        yield self.mask_logits

    def calibrate(self, logit: Tensor, positive: Tensor) -> None:
        """Set theta so that a share ``self.share`` of the samples leaves."""
        self.theta.fill_(threshold_of_share(logit, self.share))

    def lower(self) -> Lowered:
        """Return the parts for export; suppressed channels are removed from the light decoder's first layer, too."""
        channels, head, _ = super().lower()
        light = copy.deepcopy(self.exit)
        assert light is not None
        if channels is not None:
            first = light.get_submodule("first.conv")
            assert isinstance(first, nn.Conv2d)
            first.weight = nn.Parameter(first.weight.detach()[:, list(channels)])
            first.in_channels = len(channels)
        return Lowered(channels, head, light)
