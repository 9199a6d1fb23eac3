"""The part of the space of plans that lies inside stages: which layers are gated, and how."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from gatesearch.errors import UserError
from gatesearch.gates import fits, kind_of
from gatesearch.graph.sites import LayerSite, find
from gatesearch.plan import PlacedGate, Scalar
from gatesearch.search.trial_protocol import Suggest

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
            able = [kind for kind in kinds if fits(kind, site)]
            if site in named and able:
                sites.append(site)
            elif site in named and site_names != "all":
                known = ", ".join(kinds) or "the space"
                raise UserError(f"space.layers.sites: no gate of {known} can go at {site.name!r}")
        return cls(tuple(sites) if kinds else (), kinds, together)

    def choices(self, kind: str, site: LayerSite) -> dict[str, tuple[Scalar, ...]]:
        """Return the choices of each parameter: the file's, else the kind's own for that site.

        One that the site leaves no choice in is fixed.
        """
        own = kind_of(kind).choices(site)
        return {
            name: tuple(values if len(values) == 1 else self.kinds[kind].get(name, values))
            for name, values in own.items()
        }

    def propose(self, trial: Suggest) -> tuple[PlacedGate, ...]:
        """Let a trial choose."""
        placed = []
        for label, offers in self._offers().items():
            kind = str(trial.suggest_categorical(f"{label}:kind", [NONE, *offers]))
            params: dict[str, Scalar] = {}
            for name, values in self.choices(kind, offers[kind]).items() if kind != NONE else ():
                one = len(values) == 1
                params[name] = values[0] if one else trial.suggest_categorical(f"{label}:{kind}.{name}", list(values))
            sites = [site for site in self.sites if self.together or site.name == label]
            placed += [PlacedGate.of(kind, site.name, **params) for site in sites if kind in self._able(site)]
        return tuple(placed)

    def named(self, gates: Sequence[PlacedGate]) -> dict[str, Scalar]:
        """Return what a trial chooses, by name, to propose these gates: the reverse of :meth:`propose`."""
        chosen: dict[str, Scalar] = {}
        for label, offers in self._offers().items():
            placed = next((gate for gate in gates if self.together or gate.site == label), None)
            chosen[f"{label}:kind"] = NONE if placed is None else placed.kind
            if placed is None:
                continue
            for name, values in self.choices(placed.kind, offers[placed.kind]).items():
                if len(values) > 1:
                    chosen[f"{label}:{placed.kind}.{name}"] = placed[name]
        return chosen

    def offered(self) -> list[list[tuple[PlacedGate, ...]]]:
        """Return what may be chosen, one choice of each list; an empty one is no gate there."""
        found = []
        for label, offers in self._offers().items():
            sites = [site for site in self.sites if self.together or site.name == label]
            here: list[tuple[PlacedGate, ...]] = [()]
            for kind, widest in offers.items():
                choices = self.choices(kind, widest)
                for values in product(*choices.values()):
                    params = dict(zip(choices, values, strict=True))
                    able = [site for site in sites if kind in self._able(site)]
                    here.append(tuple(PlacedGate.of(kind, site.name, **params) for site in able))
            found.append(here)
        return found

    def gates(self) -> list[PlacedGate]:
        """Return every gate that may be placed."""
        return [
            PlacedGate.of(kind, site.name, **dict(zip(choices, values, strict=True)))
            for site in self.sites
            for kind in self._able(site)
            for choices in [self.choices(kind, site)]
            for values in product(*choices.values())
        ]

    def everywhere(self, kind: str) -> dict[str, Scalar]:
        """Return what a trial chooses, by name, to have gates of one kind wherever they can go."""
        return {f"{label}:kind": kind for label, offers in self._offers().items() if kind in offers}

    def _offers(self) -> dict[str, dict[str, LayerSite]]:
        """Return what is chosen one by one: by label the kinds to choose from, and the site that says how."""
        each = {site.name: dict.fromkeys(self._able(site), site) for site in self.sites}
        if not self.together or not each:
            return each
        # The last site where a kind can go is as wide as any before it.
        return {"layers": {kind: site for offers in each.values() for kind, site in offers.items()}}

    def _able(self, site: LayerSite) -> list[str]:
        return [kind for kind in self.kinds if fits(kind, site)]

    def __len__(self) -> int:
        """Number of different choices, or ``sys.maxsize`` where there are more."""
        total = math.prod(
            1 + sum(math.prod(map(len, self.choices(kind, site).values())) for kind, site in offers.items())
            for offers in self._offers().values()
        )
        return min(total, sys.maxsize)
