"""The gate kind ``gc`` (Gated Compression): its parameters, sites and work."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from gatesearch.gates.gc.head import PlaneFilters, map_shape, pooled_size
from gatesearch.gates.gc.modes import MODES, GCGate
from gatesearch.gates.kind import GateKind
from gatesearch.gates.params import GateParams, param, recall_param
from gatesearch.gates.work import CutWork
from gatesearch.graph.sites import CutSite
from gatesearch.plan import Scalar


@dataclass(frozen=True)
class GCParams(GateParams):
    """Parameters of a ``gc`` gate."""

    mode: str = param(
        "channel",
        choices=tuple(MODES),
        among=tuple(MODES),
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
    recall: float = recall_param()


class GC(GateKind[CutSite, GCParams]):
    """The gate kind ``gc``, for cut sites whose tensor has one to three axes.

    Such a tensor holds features [F], channels by time [C, T], tokens [T, C] or a feature map [C, H, W].
    """

    name = "gc"
    site_type = CutSite
    Params = GCParams

    def fits(self, site: CutSite) -> bool:
        """Say whether the head can pool the site's tensor."""
        return 1 <= len(site.shape) <= 3

    def choices(self, site: CutSite) -> dict[str, tuple[Scalar, ...]]:
        """Return the values that a search tries; with a single channel, the gate does not compress."""
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

    def trains_alone(self, site: CutSite, params: GCParams) -> bool:
        """Say whether all channels pass as they are."""
        return params.mode == "channel" and params.keep == 1.0

    def work(self, site: CutSite, params: GCParams, observed: Mapping[str, float] | None = None) -> CutWork:
        """Return the work of the head, and the channels and values that remain."""
        mode = MODES[params.mode]
        channels = mode.output_channels(site.channels, params.keep)
        filters = PlaneFilters(map_shape(site.shape, site.channel_axis))
        head_channels = channels if filters.is_identity else filters.shape[0]
        linear = (pooled_size(filters.shape) // filters.shape[0] + site.class_token) * head_channels
        # A mean over a map is exported as a depthwise convolution, which has weights of its own.
        mean = head_channels * math.prod(filters.shape[1:]) if len(filters.shape) == 3 else 0
        return CutWork(
            macs=filters.macs + mean + linear,
            params=sum(p.numel() for p in filters.parameters()) + mean + linear + 1,
            density=mode.density(params.keep),
            kept_channels=channels,
            elements=site.elements // site.channels * channels,
        )
