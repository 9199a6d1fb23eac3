"""Feature Boosting and Suppression (FBS) and Precision Gating (PG) in one convolution.

FBS picks the winning channels of a sample, and the layer computes no others. PG computes the high bits of all winners.
It computes the low bits only of the outputs that PG's mask opens.

The combination is from Huang et al. 2020, "Pushing the Envelope of Dynamic Spatial Gating technologies", section 4. The
paper does not say which of FBS and PG comes first. In this module, FBS's predictor reads the input first, and PG
convolves only for the winners:

    g = relu(phi mean(x) + rho)      x: the input; phi, rho: the predictor's weights and biases; g: a gain per channel
    a                                1 for the k channels with the largest g (the winners), 0 for the others
    O = O_hb + m O_lb                the winners' convolution by high bits and by low bits
    m                                PG's mask; a group of channels decides by the mean over its winners
    y = a g norm(O) + a beta         norm: batch normalisation without scale gamma and shift beta; g replaces gamma

PG's sparsity is the share of outputs whose low bits are not computed. Channels that lose have no low bits either, so
counting them overstates the sparsity. The gate reports the sparsity twice: over the winners, and over all outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import nn

from gatesearch.gates.fbs import FBS, FBSConv2d, FBSParams, unfold, work_of_winners
from gatesearch.gates.kind import Figure, GateKind
from gatesearch.gates.pg import PG, PGConv2d, PGParams
from gatesearch.gates.pg.arithmetic import MASKS
from gatesearch.gates.work import KernelCall, LayerWork
from gatesearch.graph.sites import LayerSite
from gatesearch.plan import Scalar

GROUPED = 16  # value of "group" in a kernel's variant that stands for all groups of two channels or more


@dataclass(frozen=True)
class HybridParams(PGParams, FBSParams):
    """Parameters of an ``fbs_pg`` gate: those of FBS (density, block) and those of PG."""


class Hybrid(GateKind[LayerSite, HybridParams]):
    """The gate kind ``fbs_pg``, for every layer site where both FBS and PG fit."""

    name = "fbs_pg"
    site_type = LayerSite
    Params = HybridParams
    figures = (*PG.figures, Figure("sparsity_winners", "share", "Closed, of winners"), *FBS.figures)

    def fits(self, site: LayerSite) -> bool:
        """Say whether both FBS and PG fit the site."""
        return FBS().fits(site) and PG().fits(site)

    def choices(self, site: LayerSite) -> dict[str, tuple[Scalar, ...]]:
        """Return the choices of FBS and of PG at the site."""
        return {**FBS().choices(site), **PG().choices(site)}

    def build(
        self, site: LayerSite, params: HybridParams, layer: nn.Module | None = None, norm: nn.BatchNorm2d | None = None
    ) -> FBSConv2d:
        """Build an FBS layer around a PG convolution, with the weights of the trained layer and its normalisation."""
        weights = unfold(layer, norm)
        return FBSConv2d(PGConv2d(weights.conv, params), weights, params.density, params.block)

    def work(self, site: LayerSite, params: HybridParams, observed: Mapping[str, float] | None = None) -> LayerWork:
        """Return PG's work for the winners; a core skips low bits only if it can skip channels first."""
        observed = observed or {}
        of_winners = {"weighted_sparsity": observed["sparsity_winners"]} if "sparsity_winners" in observed else None
        pg_work = PG().work(site, params, of_winners)
        work = work_of_winners(pg_work.calls, site, params, observed)
        work = replace(work, macs=work.macs + pg_work.macs, params=work.params + pg_work.params)
        if not site.geometry or not params.for_kernel:
            return work
        group, operands = MASKS[params.mask].size(site.channels), params.count_operands(site.positive)
        # The kernel runs the same program for every group of several channels.
        variant = (("block", params.block), ("group", 1 if group == 1 else GROUPED), ("pieces", operands))
        open_share = 1 - (of_winners or {}).get("weighted_sparsity", 1.0) if params.low_bits else 0.0
        remaining = (("outputs", work.density), ("open", open_share))
        return replace(work, kernels=(KernelCall("fbs_pg", site.geometry, variant, remaining),))
