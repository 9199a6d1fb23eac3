"""The part of the space of plans that lies inside stages: which layers are gated, and how."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gatesearch.errors import UserError
from gatesearch.gates import layer_kind
from gatesearch.plan import PlacedGate, Scalar
from gatesearch.search.suggest import Suggest
from gatesearch.sites import LayerSite, find

NONE = "none"


@dataclass(frozen=True)
class LayerSpace:
    """At every site no gate, or one of the kinds that may go there.

    Args:
        sites: in order.
        kinds: for each layer kind, each searched parameter with its choices.
        together: whether one choice holds for all sites, which is a small space that often is enough.
    """

    sites: tuple[LayerSite, ...] = ()
    kinds: Mapping[str, Mapping[str, Sequence[Scalar]]] = field(default_factory=dict)
    together: bool = False

    @classmethod
    def of(
        cls,
        all_sites: tuple[LayerSite, ...],
        kinds: Mapping[str, Mapping[str, Sequence[Scalar]]],
        site_names: Sequence[str] | str = "all",
        together: bool = False,
    ) -> LayerSpace:
        """Build the space that a search-space file describes.

        Raises:
            UserError: a site, parameter or value does not exist, or no kind can go at a named site.
        """
        named = all_sites if site_names == "all" else [find(all_sites, n, "space.layers.sites") for n in site_names]
        sites = []
        for site in all_sites:
            able = [kind for kind in kinds if layer_kind(kind).may_go(site)]
            if site in named and able:
                sites.append(site)
            elif site in named and site_names != "all":
                known = ", ".join(kinds) or "the space"
                raise UserError(f"space.layers.sites: no gate of {known} can go at {site.name!r}")
        return cls(tuple(sites) if kinds else (), kinds, together)

    def choices(self, kind: str, site: LayerSite) -> dict[str, tuple[Scalar, ...]]:
        """Return the choices of each parameter: the file's, else the kind's own for that site."""
        return {name: tuple(self.kinds[kind].get(name, own)) for name, own in layer_kind(kind).space(site).items()}

    def propose(self, trial: Suggest) -> tuple[PlacedGate, ...]:
        """Let a trial choose."""
        if not self.sites:
            return ()
        if self.together:
            kind, params = self._chosen(trial, "layers", self.sites[-1])
            able = [site for site in self.sites if kind != NONE and layer_kind(kind).may_go(site)]
            return tuple(PlacedGate.of(kind, site.name, **params) for site in able)
        chosen = [(site, *self._chosen(trial, site.name, site)) for site in self.sites]
        return tuple(PlacedGate.of(kind, site.name, **params) for site, kind, params in chosen if kind != NONE)

    def _chosen(self, trial: Suggest, label: str, site: LayerSite) -> tuple[str, dict[str, Scalar]]:
        kind = str(trial.suggest_categorical(f"{label}:kind", [NONE, *self._able(site)]))
        choices = {} if kind == NONE else self.choices(kind, site)
        return kind, {
            name: values[0] if len(values) == 1 else trial.suggest_categorical(f"{label}:{kind}.{name}", list(values))
            for name, values in choices.items()
        }

    def _able(self, site: LayerSite) -> list[str]:
        return [kind for kind in self.kinds if layer_kind(kind).may_go(site)]

    def __len__(self) -> int:
        """Number of different choices."""
        if not self.sites:
            return 1
        each = [
            1 + sum(math.prod(len(values) for values in self.choices(kind, site).values()) for kind in self._able(site))
            for site in self.sites
        ]
        return each[-1] if self.together else math.prod(each)
