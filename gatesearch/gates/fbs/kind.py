"""The gate kind ``fbs`` (Feature Boosting and Suppression): its parameters, sites and work.

A predictor estimates a gain g for each output channel. Only the channels with the largest g, the winners, are computed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import nn

from gatesearch.gates.fbs.layer import FBSConv2d, winning_groups
from gatesearch.gates.fbs.unfold import unfold
from gatesearch.gates.kind import Figure, GateKind
from gatesearch.gates.params import GateParams, param
from gatesearch.gates.work import Call, KernelCall, LayerWork
from gatesearch.graph.sites import LayerSite
from gatesearch.plan import Scalar

SKIPS: Mapping[int, str] = {1: "channel", 16: "channel-block-16"}  # by size of a block of channels
KERNELS: Mapping[int, str] = {1: "fbs_single", 16: "fbs"}  # by size of a block of channels
BITS = (8, 8)  # bits of the magnitude of an activation and of a weight


@dataclass(frozen=True)
class FBSParams(GateParams):
    """Parameters of an ``fbs`` gate."""

    density: float = param(
        1.0, choices=(0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), above=0, high=1, doc="d, share of the channels that win"
    )
    block: int = param(
        1, choices=(16, 1), among=tuple(SKIPS), doc="channels that win or lose together", new_program=True
    )


class FBS(GateKind[LayerSite, FBSParams]):
    """The gate kind ``fbs``, for every convolution without groups that has two output channels or more."""

    name = "fbs"
    site_type = LayerSite
    Params = FBSParams
    figures = (
        Figure("density", "share", "Channels computed", headline=True),
        Figure("winners_per_sample", "channels"),
        Figure("nonzero", "share"),
    )

    def fits(self, site: LayerSite) -> bool:
        """Say whether the layer is a convolution whose channels can win or lose."""
        return site.op == "conv2d" and site.channels >= 2

    def choices(self, site: LayerSite) -> dict[str, tuple[Scalar, ...]]:
        """Return the values that a search tries; a block has to have fewer channels than the layer."""
        choices = super().choices(site)
        return {**choices, "block": tuple(block for block in sorted(SKIPS, reverse=True) if site.channels > block)}

    def build(
        self, site: LayerSite, params: FBSParams, layer: nn.Module | None = None, norm: nn.BatchNorm2d | None = None
    ) -> FBSConv2d:
        """Build the gate; before training it computes the same function as the layer and norm; see :func:`unfold`."""
        weights = unfold(layer, norm)
        return FBSConv2d(weights.conv, weights, params.density, params.block)

    def work(self, site: LayerSite, params: FBSParams, observed: Mapping[str, float] | None = None) -> LayerWork:
        """Return the work of the winning channels, of the predictor, and of multiplying the winners' outputs by g."""
        work = work_of_winners((Call(BITS),), site, params, observed)
        if not site.geometry:
            return work
        # The kernel runs the predictor even if all channels win.
        call = KernelCall(KERNELS[params.block], site.geometry, (), (("outputs", work.density),))
        return replace(work, kernels=(call,))


def work_of_winners(
    calls: Sequence[Call], site: LayerSite, params: FBSParams, observed: Mapping[str, float] | None
) -> LayerWork:
    """Return the work that remains with FBS in a layer whose own work without FBS is ``calls``.

    A sparser input saves work, too. The cost model computes that saving from the density of the layer before.
    """
    block = params.block
    groups = math.ceil(site.channels / block)
    count = winning_groups(params.density, groups)
    # The last group may be smaller. The fewest channels win if that group is among the winners.
    min_channels = (count - 1) * block + site.channels - (groups - 1) * block
    share = (observed or {}).get("density", min_channels / site.channels)
    predictor = site.shape_in[0] * site.channels
    return LayerWork(
        calls=tuple(
            Call(call.bits, ((SKIPS[block], share), *call.remaining)) if count < groups else call for call in calls
        ),
        macs=predictor + site.elements * share,
        params=predictor + site.channels,
        density=share,
    )
