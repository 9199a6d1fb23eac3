"""The space of plans: which sites, which gates, which cores."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product

from gatesearch.errors import UserError, unknown
from gatesearch.gates import fits, kind_of, params_of
from gatesearch.graph.sites import CutSite, LayerSite, Site, find, worthwhile
from gatesearch.plan import GatePlan, PlacedGate, Scalar
from gatesearch.search.layer_space import LayerSpace
from gatesearch.search.trial_protocol import Suggest

Choices = Mapping[str, Mapping[str, Sequence[Scalar]]]


@dataclass(frozen=True)
class Space:
    """Plans of at most ``most`` gates at cut sites, and of gates inside the stages.

    Args:
        sites: where gates may go, in order.
        kinds: for each kind that goes there, each searched parameter with its choices.
        cores: in order of rising cost; a stage never runs on an earlier core than the stage before it.
        fewest, most: number of gates at cut sites.
        layers: what may be gated inside the stages.
    """

    sites: tuple[CutSite, ...]
    kinds: Mapping[str, Mapping[str, Sequence[Scalar]]]
    cores: tuple[str, ...]
    fewest: int = 0
    most: int = 3
    layers: LayerSpace = field(default_factory=LayerSpace)

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
        all_layers: tuple[LayerSite, ...] = (),
        layer_names: Sequence[str] | str = "all",
        together: bool = False,
    ) -> Space:
        """Build the space that a search-space file describes, against a backbone's sites and a device's cores.

        Raises:
            UserError: a site, core, kind, parameter or value does not exist, no gate can go at a named site, or there
                are fewer sites than gates.
        """
        if core_names != "all":
            for name in core_names:
                if name not in device_cores:
                    raise unknown("space.cores", "core", name, device_cores)
        _check_kinds(kinds, [*all_sites, *all_layers])
        layers = LayerSpace.of(all_layers, _of_type(kinds, LayerSite), layer_names, together)
        kinds = _of_type(kinds, CutSite)
        if site_names == "all":
            sites = tuple(site for site in worthwhile(all_sites, min_work) if _able(kinds, site))
        else:
            named = [find(all_sites, name, "space.sites") for name in site_names]
            sites = tuple(site for site in all_sites if site in named)
            for site in sites:
                if not _able(kinds, site):
                    raise UserError(
                        f"space.sites: no gate of {', '.join(kinds)} can go at {site.name!r}, shape {list(site.shape)}"
                    )
        if fewest > len(sites):
            raise UserError(f"space.gates.min: {fewest} gates, and only {len(sites)} sites to put them")
        cores = tuple(name for name in device_cores if core_names == "all" or name in core_names)
        return cls(sites, kinds, cores, fewest, min(most, len(sites)), layers)

    def choices(self, kind: str, site: CutSite) -> dict[str, tuple[Scalar, ...]]:
        """Return the choices of each parameter; one that the site leaves no choice in is fixed."""
        own = kind_of(kind).choices(site)
        return {
            name: tuple(values if len(values) == 1 else self.kinds[kind].get(name, values))
            for name, values in own.items()
        }

    def propose(self, trial: Suggest) -> GatePlan:
        """Let a trial choose a plan; equal choices in another order give the same plan.

        A site that is chosen twice stands, the second time, for the next one that is free: the plan has as many gates
        as the trial wanted.
        """
        count = int(trial.suggest_categorical("gates", list(range(self.fewest, self.most + 1))))  # type: ignore[arg-type]
        names = [site.name for site in self.sites]
        gates: dict[str, PlacedGate] = {}
        for slot in range(count):
            wanted = names.index(str(trial.suggest_categorical(f"site_{slot}", names)))
            name = next(name for name in names[wanted:] + names[:wanted] if name not in gates)
            gates[name] = self._gate(trial, slot, find(self.sites, name))
        placed = tuple(gates[name] for name in names if name in gates)
        chosen = [str(trial.suggest_categorical(f"core_{k}", list(self.cores))) for k in range(len(placed) + 1)]
        return GatePlan((*placed, *self.layers.propose(trial)), tuple(sorted(chosen, key=self.cores.index)))

    def named(self, plan: GatePlan) -> dict[str, Scalar]:
        """Return what a trial chooses, by name, to propose a plan: the reverse of :meth:`propose`."""
        cuts = [gate for gate in plan.gates if gate.kind in self.kinds]
        chosen: dict[str, Scalar] = {"gates": len(cuts)}
        for slot, placed in enumerate(cuts):
            site = find(self.sites, placed.site)
            chosen[f"site_{slot}"] = site.name
            kinds = _able(self.kinds, site)
            if len(kinds) > 1:
                chosen[self._kind_name(slot, site, kinds)] = placed.kind
            for name, values in self.choices(placed.kind, site).items():
                if len(values) > 1:
                    chosen[self._param_name(placed.kind, name, slot, site)] = placed[name]
        chosen |= {f"core_{k}": core for k, core in enumerate(plan.cores)}
        return chosen | self.layers.named(plan.gates[len(cuts) :])

    def gates_at(self, site: CutSite) -> list[PlacedGate]:
        """Return every gate that may stand at a site."""
        return [
            PlacedGate.of(kind, site.name, **dict(zip(choices, values, strict=True)))
            for kind in _able(self.kinds, site)
            for choices in [self.choices(kind, site)]
            for values in product(*choices.values())
        ]

    def _kind_name(self, slot: int, site: CutSite, kinds: Sequence[str]) -> str:
        # Optuna wants the choices of one name to stay the same: where they depend on the site, the name does too.
        return f"kind_{slot}" + ("" if len(kinds) == len(self.kinds) else f"@{site.name}")

    def _param_name(self, kind: str, name: str, slot: int, site: CutSite) -> str:
        return f"{kind}_{name}_{slot}" + ("" if name in self.kinds[kind] else f"@{site.name}")

    def _gate(self, trial: Suggest, slot: int, site: CutSite) -> PlacedGate:
        kinds = _able(self.kinds, site)
        label = self._kind_name(slot, site, kinds)
        kind = str(trial.suggest_categorical(label, kinds)) if len(kinds) > 1 else kinds[0]
        params: dict[str, Scalar] = {}
        for name, values in self.choices(kind, site).items():
            label = self._param_name(kind, name, slot, site)
            params[name] = values[0] if len(values) == 1 else trial.suggest_categorical(label, list(values))
        return PlacedGate.of(kind, site.name, **params)

    def variants(self) -> list[PlacedGate]:
        """Return one gate for every combination of values that makes another program."""
        found = []
        for kind in self.kinds:
            widest: dict[str, tuple[Scalar, ...]] = {}
            for site in self.sites:
                for name, values in self.choices(kind, site).items() if fits(kind, site) else ():
                    widest[name] = tuple(dict.fromkeys([*widest.get(name, ()), *values]))
            programs = kind_of(kind).Params.new_programs()
            apart = {name: values for name, values in widest.items() if name in programs}
            found += [
                PlacedGate.of(kind, "any", **dict(zip(apart, combination, strict=True)))
                for combination in product(*apart.values())
            ]
        return found

    def __len__(self) -> int:
        """Number of different plans, or ``sys.maxsize`` where there are more."""
        sets = [1] + [0] * self.most  # ways to place that many gates, site after site
        for site in self.sites:
            here = 0
            for kind in _able(self.kinds, site):
                here += math.prod(len(values) for values in self.choices(kind, site).values())
            sets = [sets[0], *(more + here * fewer for fewer, more in pairwise(sets))]
        # Sequences of count + 1 cores that never go back.
        cores = [math.comb(len(self.cores) + count, count + 1) for count in range(self.most + 1)]
        total = sum(sets[count] * cores[count] for count in range(self.fewest, self.most + 1)) * len(self.layers)
        return min(total, sys.maxsize)


def _of_type(kinds: Choices, site_type: type[Site]) -> dict[str, Mapping[str, Sequence[Scalar]]]:
    return {name: params for name, params in kinds.items() if kind_of(name, "space.kinds").site_type is site_type}


def _able(kinds: Iterable[str], site: CutSite) -> list[str]:
    """Return the kinds that can go at a site."""
    return [kind for kind in kinds if fits(kind, site)]


def _check_kinds(kinds: Choices, sites: Sequence[Site]) -> None:
    """Refuse unknown kinds, parameters, values and combinations before anything is trained."""
    for name, params in kinds.items():
        kind = kind_of(name, "space.kinds")
        for site in [site for site in sites if fits(name, site)][:1]:
            own = kind.choices(site)
            for param in params:
                if param not in own:
                    raise unknown(f"space.kinds.{name}", "parameter", param, own)
            choices = {param: params.get(param, values) for param, values in own.items()}
            for values in product(*choices.values()):
                _check_values(name, dict(zip(choices, values, strict=True)), site)


def _check_values(kind: str, values: Mapping[str, Scalar], site: Site) -> None:
    refused = _refused(kind, values, site)
    if refused is not None:
        # Where a value is wrong whatever the others are, it is to blame by name.
        alone = (name for name, value in values.items() if _refused(kind, {name: value}, site) is not None)
        raise UserError(f"{'.'.join(['space.kinds', kind, *list(alone)[:1]])}: {refused}")


def _refused(kind: str, values: Mapping[str, Scalar], site: Site) -> UserError | None:
    placed = PlacedGate.of(kind, site.name, **values)
    try:
        params_of(site, placed)
    except UserError as error:
        return error
    return None
