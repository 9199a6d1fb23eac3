"""The space of plans: which sites, which gates, which cores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Protocol

from gatesearch.errors import unknown
from gatesearch.gates import kind_of
from gatesearch.plan import GatePlan, PlacedGate, Scalar
from gatesearch.sites import CutSite, find, worthwhile


class Suggest(Protocol):
    """What the space needs of an ``optuna.Trial``."""

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar:
        """Return one of the choices."""


@dataclass(frozen=True)
class Space:
    """Plans of at most ``most`` gates.

    Args:
        sites: where gates may go, in order.
        kinds: for each gate kind, each searched parameter with its choices.
        cores: in order of rising cost; a stage never runs on an earlier core than the stage before it.
        fewest, most: number of gates.
    """

    sites: tuple[CutSite, ...]
    kinds: Mapping[str, Mapping[str, Sequence[Scalar]]]
    cores: tuple[str, ...]
    fewest: int = 0
    most: int = 3

    @classmethod
    def of(
        cls,
        all_sites: tuple[CutSite, ...],
        device_cores: Sequence[str],
        kinds: Mapping[str, Mapping[str, Sequence[Scalar]]],
        *,
        site_names: Sequence[str] | str = "all",
        core_names: Sequence[str] | str = "all",
        min_work: float = 0.05,
        fewest: int = 0,
        most: int = 3,
    ) -> Space:
        """Build the space that a search-space file describes, against a backbone's sites and a device's cores.

        Raises:
            UserError: a site, core, kind or parameter does not exist.
        """
        if site_names == "all":
            sites = worthwhile(all_sites, min_work)
        else:
            named = [find(all_sites, name, "space.sites") for name in site_names]
            sites = tuple(site for site in all_sites if site in named)
        if core_names != "all":
            for name in core_names:
                if name not in device_cores:
                    raise unknown("space.cores", "core", name, device_cores)
        for kind, params in kinds.items():
            own = kind_of(kind, "space.kinds").space(sites[0])
            for param in params:
                if param not in own:
                    raise unknown(f"space.kinds.{kind}", "parameter", param, own)
        cores = tuple(name for name in device_cores if core_names == "all" or name in core_names)
        return cls(sites, kinds, cores, fewest, min(most, len(sites)))

    def choices(self, kind: str, site: CutSite) -> dict[str, tuple[Scalar, ...]]:
        """Return the choices of each parameter; one that the site leaves no choice in is fixed."""
        own = kind_of(kind).space(site)
        return {
            name: tuple(values if len(values) == 1 else self.kinds[kind].get(name, values))
            for name, values in own.items()
        }

    def propose(self, trial: Suggest) -> GatePlan:
        """Let a trial choose a plan; equal choices in another order give the same plan."""
        count = int(trial.suggest_categorical("gates", list(range(self.fewest, self.most + 1))))  # type: ignore[arg-type]
        names = [site.name for site in self.sites]
        gates: dict[str, PlacedGate] = {}
        for slot in range(count):
            site = find(self.sites, str(trial.suggest_categorical(f"site_{slot}", names)))
            kinds = [kind for kind in self.kinds if kind_of(kind).may_go(site)]
            kind = str(trial.suggest_categorical(f"kind_{slot}", kinds)) if len(kinds) > 1 else kinds[0]
            params = {}
            for name, values in self.choices(kind, site).items():
                params[name] = (
                    values[0] if len(values) == 1 else trial.suggest_categorical(f"{kind}_{name}_{slot}", list(values))
                )
            gates.setdefault(site.name, PlacedGate.of(kind, site.name, **params))
        placed = tuple(gates[name] for name in names if name in gates)
        chosen = [str(trial.suggest_categorical(f"core_{k}", list(self.cores))) for k in range(len(placed) + 1)]
        return GatePlan(placed, tuple(sorted(chosen, key=self.cores.index)))

    def variants(self) -> list[PlacedGate]:
        """Return one gate for every combination of a kind's textual parameters: what costs differently by code path."""
        found = []
        for kind in self.kinds:
            widest: dict[str, tuple[Scalar, ...]] = {}
            for site in self.sites:
                for name, values in self.choices(kind, site).items():
                    widest[name] = tuple(dict.fromkeys([*widest.get(name, ()), *values]))
            textual = {name: [v for v in values if isinstance(v, str)] for name, values in widest.items()}
            textual = {name: values for name, values in textual.items() if values}
            found += [
                PlacedGate.of(kind, "any", **dict(zip(textual, combination, strict=True)))
                for combination in product(*textual.values())
            ]
        return found

    def __len__(self) -> int:
        """Number of different plans."""
        total = 0
        for count in range(self.fewest, self.most + 1):
            cores = math.comb(len(self.cores) + count, count + 1)  # sequences that never go back
            for chosen in combinations(self.sites, count):
                gates = [
                    sum(
                        math.prod(len(values) for values in self.choices(kind, site).values())
                        for kind in self.kinds
                        if kind_of(kind).may_go(site)
                    )
                    for site in chosen
                ]
                total += cores * math.prod(gates)
        return total
