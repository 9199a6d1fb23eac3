"""Explains in a few words why a search space has no gate at a site of the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gatesearch.gates import fits, kind_of
from gatesearch.graph.sites import CutSite, LayerSite, Site
from gatesearch.search.space import Space


def explain_exclusion(
    site: Site,
    space: Space,
    kinds: Mapping[str, Any],
    *,
    cut_names: Sequence[str] | str,
    layer_names: Sequence[str] | str,
    min_work: float,
) -> str | None:
    """Return why the search space has no gate at a site; None if it has one.

    Args:
        site: the site of the network.
        space: the space that was built from the other arguments.
        kinds: gate kinds that the recipe names.
        cut_names, layer_names: cut sites and layer sites that the recipe names, or "all".
        min_work: smallest share of the network's multiplications that may lie between two cut sites.
    """
    if space.kinds_at(site):
        return None
    is_cut = isinstance(site, CutSite)
    own = [kind for kind in kinds if kind_of(kind).site_type is (CutSite if is_cut else LayerSite)]
    if not own:
        return f"space.kinds names no gate for {'cut sites' if is_cut else 'layers'}"
    names, key = (cut_names, "space.sites") if is_cut else (layer_names, "space.layers.sites")
    if names != "all" and site.name not in names:
        return f"not among {key}"
    if not any(fits(kind, site) for kind in own):
        return f"{', '.join(own)} fits no site of this shape"
    return f"less than {min_work:.0%} of the multiplications lie before or behind it (space.min_work)"
