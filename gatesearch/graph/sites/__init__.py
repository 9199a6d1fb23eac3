"""The places in an ``nn.Module`` where gates can go: the cut sites and the layer sites of its graph.

Exactly one tensor crosses a cut site. The operations before the site can run on one core and those after it on another.
A gate at the site reads the same tensor as the rest of the network. The input is a cut site as well. A layer site is a
convolution, linear or recurrent layer; a gate may replace it by a layer that multiplies less.
"""

from gatesearch.graph.sites.check import check_sites
from gatesearch.graph.sites.cuts import cut_sites
from gatesearch.graph.sites.layers import layer_sites
from gatesearch.graph.sites.site import INPUT, AnySite, CutSite, LayerSite, Site, find, worthwhile

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
    "worthwhile",
]
