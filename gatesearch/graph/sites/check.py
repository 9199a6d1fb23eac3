"""Checks whether a network has the sites of a plan: the same tensors and layers at the same positions.

Sites are found in one trace of a network and used in later traces: in a worker process, after training, in an export,
or in a resumed run. In another network, the same name may stand for another position. The check fails before a gate is
built at the wrong position.
"""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import torch
from torch import nn

from gatesearch.errors import UserError
from gatesearch.graph.sites.cuts import find_candidates
from gatesearch.graph.sites.layers import layer_sites
from gatesearch.graph.sites.site import CutSite, LayerSite
from gatesearch.graph.trace import NodeProfile, trace

_checked: WeakKeyDictionary[nn.Module, set[CutSite | LayerSite]] = WeakKeyDictionary()


def check_sites(
    backbone: nn.Module, input_shape: tuple[int, ...], cuts: Sequence[CutSite], layers: Sequence[LayerSite] = ()
) -> None:
    """Check sites against a network, once for each network and site.

    Args:
        backbone: the network without gates.
        input_shape: the shape of one sample.
        cuts: cut sites, in order.
        layers: layer sites.

    Raises:
        UserError: the network lacks a site, or has it with another shape, number of multiply-accumulates or position.
    """
    checked = _checked.setdefault(backbone, set())
    if not {*cuts, *layers} - checked:
        return
    example = torch.zeros(1, *input_shape)
    if cuts:
        _check_cuts(backbone, example, cuts)
    if layers:
        _check_layers(backbone, example, layers)
    checked.update(cuts, layers)


def _check_cuts(backbone: nn.Module, example: torch.Tensor, cuts: Sequence[CutSite]) -> None:
    """Check that cut sites still exist in the network, with the same shapes, MACs and order."""
    traced = trace(backbone)
    profile = NodeProfile(traced, example)
    total = sum(profile.macs.values())
    before, macs = dict[str, int](), 0
    for node in traced.graph.nodes:
        macs += profile.macs.get(node.name, 0)
        before[node.name] = macs
    crossing = {node.name for node, _ in find_candidates(traced, profile)}
    for site in cuts:
        if site.node not in before:
            raise _moved(backbone, site, f"the network has no node {site.node!r}")
        if site.node not in crossing:
            raise _moved(backbone, site, f"more than one tensor crosses behind node {site.node!r}")
        present = (profile.shapes.get(site.node), before[site.node], total - before[site.node])
        if present != (site.shape, site.macs_before, site.macs_after):
            raise _moved(
                backbone,
                site,
                f"node {site.node!r} has shape {_text(present[0])}, with {present[1]:,} MACs up to it and "
                f"{present[2]:,} after it; the site has shape {_text(site.shape)}, with {site.macs_before:,} and "
                f"{site.macs_after:,}",
            )
    order = [list(before).index(site.node) for site in cuts]
    if order != sorted(order):
        raise _moved(backbone, cuts[0], "the network meets the sites in another order")


def _check_layers(backbone: nn.Module, example: torch.Tensor, layers: Sequence[LayerSite]) -> None:
    by_name = {site.name: site for site in layer_sites(backbone, example)}
    for site in layers:
        present = by_name.get(site.name)
        if present is None:
            raise _moved(backbone, site, "the network has no such layer that a gate can replace")
        for name in ("op", "shape_in", "shape", "macs", "params", "norm", "geometry"):
            if getattr(present, name) != getattr(site, name):
                raise _moved(
                    backbone, site, f"its {name} is {_text(getattr(present, name))}, not {_text(getattr(site, name))}"
                )


def _moved(backbone: nn.Module, site: CutSite | LayerSite, reason: str) -> UserError:
    return UserError(f"backbone {type(backbone).__name__}: site {site.name!r} is of another network: {reason}")


def _text(value: object) -> str:
    return " x ".join(map(str, value)) if isinstance(value, tuple) else str(value)
