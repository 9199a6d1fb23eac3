"""FBS and PG in one layer: losing channels are not computed, winning ones get low bits only where PG opens.

Huang et al. 2020, "Pushing the Envelope of Dynamic Spatial Gating technologies", section 4. The paper leaves
the order of the two open. Here the predictor reads the input first, and PG convolves for the winners alone:

    g = relu(phi mean(x) + rho)      a = the k largest of g
    O = O_hb + m O_lb                for the winning channels; groups of a mask decide by their winners
    y = a g norm(O) + a beta

A loser has no high bits either. Counting losers among the outputs without low bits overstates PG's sparsity, so it is
reported twice: over the winners, and over all outputs.
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

GROUPED = 16  # channels; stands for every group of more than one in a kernel's variant


@dataclass(frozen=True)
class HybridParams(PGParams, FBSParams):
    """Parameters of one gate: density and block of FBS, and those of PG."""


class Hybrid(GateKind[LayerSite, HybridParams]):
    """The kind ``fbs_pg``: at every site where both FBS and PG fit."""

    name = "fbs_pg"
    site_type = LayerSite
    Params = HybridParams
    figures = (*PG.figures, Figure("sparsity_winners", "share", "Closed, of winners"), *FBS.figures)

    def fits(self, site: LayerSite) -> bool:
        """Say whether both may stand there."""
        return FBS().fits(site) and PG().fits(site)

    def choices(self, site: LayerSite) -> dict[str, tuple[Scalar, ...]]:
        """Return the choices of both."""
        return {**FBS().choices(site), **PG().choices(site)}

    def build(
        self, site: LayerSite, params: HybridParams, layer: nn.Module | None = None, norm: nn.BatchNorm2d | None = None
    ) -> FBSConv2d:
        """Build an FBS layer around a PG convolution, from what the trained layers were."""
        start = unfold(layer, norm)
        return FBSConv2d(PGConv2d(start.conv, params), start, params.density, params.block)

    def work(self, site: LayerSite, params: HybridParams, observed: Mapping[str, float] | None = None) -> LayerWork:
        """Return PG's two phases for the winners, which a core has to be able to skip by channel first."""
        observed = observed or {}
        among = {"weighted_sparsity": observed["sparsity_winners"]} if "sparsity_winners" in observed else None
        inner = PG().work(site, params, among)
        work = work_of_winners(inner.calls, site, params, observed)
        work = replace(work, macs=work.macs + inner.macs, params=work.params + inner.params)
        if not site.geometry or not params.for_kernel:
            return work
        group, pieces = MASKS[params.mask].size(site.channels), params.pieces(site.positive)
        # The kernel runs the same program for every group of several channels.
        variant = (("block", params.block), ("group", 1 if group == 1 else GROUPED), ("pieces", pieces))
        share = 1 - (among or {}).get("weighted_sparsity", 1.0) if params.low_bits else 0.0
        remaining = (("outputs", work.density), ("open", share))
        return replace(work, kernels=(KernelCall("fbs_pg", site.geometry, variant, remaining),))
