"""Where gates can go in any ``nn.Module``: the cut sites and the layer sites of its traced graph.

A cut site is a place that exactly one tensor crosses. Everything before it can run on one core and everything after it
on another, and a gate there sees all that the rest of the network will ever see. The input is a site as well. A layer
site is a layer that multiplies, which a gate may replace by one that multiplies less.
"""

from gatesearch.graph.sites.check import check_sites
from gatesearch.graph.sites.cuts import cut_sites
from gatesearch.graph.sites.layers import layer_sites
from gatesearch.graph.sites.site import INPUT, AnySite, CutSite, LayerSite, Site, find, reads_all_channels, worthwhile

__all__ = [
    "INPUT",
    "AnySite",
    "CutSite",
    "LayerSite",
    "Site",
    "check_sites",
    "cut_sites",
    "find",
    "layer_sites",
    "reads_all_channels",
    "worthwhile",
]
