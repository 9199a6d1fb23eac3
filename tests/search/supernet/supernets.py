"""A small supernet, as trained or not, for the tests beside this."""

from __future__ import annotations

import torch
from nets import CLASSES, build

from gatesearch.graph.sites import cut_sites
from gatesearch.search import Space
from gatesearch.search.supernet.network import Supernet

SITES = {"ds_cnn": ["input", "stem", "blocks.0"], "kwt": ["input", "blocks.0"]}
KINDS = {"gc": {"mode": ["channel", "activation"], "keep": [0.25, 0.5, 1.0], "recall": [0.9, 0.99]}}


def supernet(net: str = "ds_cnn") -> tuple[Supernet, torch.nn.Module, Space]:
    """Build a supernet, the backbone that it was made from, and the space; masks in an order of their own."""
    backbone, shape = build(net)
    sites = cut_sites(backbone, torch.zeros(1, *shape))
    space = Space.of(sites, ["mcu", "npu"], KINDS, site_names=SITES[net], most=2)
    generator = torch.Generator().manual_seed(3)
    saliency = {site.name: torch.rand(site.channels, generator=generator) for site in space.sites}
    return Supernet(backbone, space, CLASSES, saliency), backbone, space
