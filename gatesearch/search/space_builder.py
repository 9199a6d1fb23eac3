"""Builds a search space from gate kinds, the sites of a backbone and the cores of a device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

from gatesearch.devices.profile import ClockSlot
from gatesearch.errors import UserError, unknown
from gatesearch.gates import fits, kind_of, params_of
from gatesearch.graph.sites import CutSite, LayerSite, Site, find, worthwhile
from gatesearch.plan import PlacedGate, Scalar
from gatesearch.search.slots import Gates, Slot
from gatesearch.search.space import Space

Kinds = Mapping[str, Mapping[str, Sequence[Scalar]]]  # for each gate kind, its searched parameters with their choices


def build_space(
    cut_sites: Sequence[CutSite],
    cores: Sequence[str],
    kinds: Kinds,
    *,
    layer_sites: Sequence[LayerSite] = (),
    cut_names: Sequence[str] | str = "all",
    layer_names: Sequence[str] | str = "all",
    core_names: Sequence[str] | str = "all",
    clocks: Sequence[ClockSlot] = (),
    min_work: float = 0.05,
    min_gates: int = 0,
    max_gates: int = 3,
    together: bool = False,
) -> Space:
    """Return the space of plans.

    Args:
        cut_sites, layer_sites: the sites of the backbone, in the order in which data pass them.
        cores: the cores of the device, in order of rising cost.
        kinds: the gate kinds to search, each with choices for its parameters. A parameter without choices has those
            that its gate kind offers at the site.
        cut_names, layer_names, core_names: names of the cut sites, layer sites and cores to search, or "all".
        clocks: the cores of the device with several clock points.
        min_work: smallest share of the backbone's MACs (multiply-accumulates) that a stage may have. This limit applies
            only if ``cut_names`` is "all".
        min_gates, max_gates: smallest and largest number of cut gates in a plan.
        together: whether all layer sites have the same choice.

    Raises:
        UserError: a site, core, kind, parameter or value does not exist; no gate can go at a named site; or there are
            fewer sites than gates.
    """
    if core_names != "all":
        for name in core_names:
            if name not in cores:
                raise unknown("space.cores", "core", name, cores)
    _check_kinds(kinds, [*cut_sites, *layer_sites])
    cut_slots = _cut_slots(cut_sites, _kinds_for(CutSite, kinds), cut_names, min_work)
    if min_gates > len(cut_slots):
        raise UserError(f"space.gates.min: {min_gates} gates, and only {len(cut_slots)} sites to put them")
    return Space(
        slots=(*cut_slots, *_layer_slots(layer_sites, _kinds_for(LayerSite, kinds), layer_names, together)),
        cores=tuple(name for name in cores if core_names == "all" or name in core_names),
        min_gates=min_gates,
        max_gates=min(max_gates, len(cut_slots)),
        clocks=tuple(clocks),
    )


def _cut_slots(all_sites: Sequence[CutSite], kinds: Kinds, names: Sequence[str] | str, min_work: float) -> list[Slot]:
    """Return a slot for each cut site that is searched."""
    if names == "all":
        candidates = worthwhile(tuple(all_sites), min_work) if all_sites else ()
        sites = [site for site in candidates if _fitting(kinds, site)]
    else:
        named = [find(tuple(all_sites), name, "space.sites") for name in names]
        sites = [site for site in all_sites if site in named]
    slots = []
    for site in sites:
        if not _fitting(kinds, site):
            shape = list(site.shape)
            raise UserError(f"space.sites: no gate of {', '.join(kinds)} can go at {site.name!r}, shape {shape}")
        # A layer and a cut site may have the same name. The prefix distinguishes their parameters.
        slots.append(Slot(f"cut:{site.name}", (site,), _choices(kinds, [site])))
    return slots


def _layer_slots(
    all_sites: Sequence[LayerSite], kinds: Kinds, names: Sequence[str] | str, together: bool
) -> list[Slot]:
    """Return a slot for each layer site that is searched, or one slot for all of them together."""
    named = all_sites if names == "all" else [find(tuple(all_sites), name, "space.layers.sites") for name in names]
    sites = []
    for site in all_sites:
        if site in named and _fitting(kinds, site):
            sites.append(site)
        elif site in named and names != "all":
            kind_names = ", ".join(kinds) or "the space"
            raise UserError(f"space.layers.sites: no gate of {kind_names} can go at {site.name!r}")
    if together and sites:
        return [Slot("layers", tuple(sites), _choices(kinds, sites))]
    return [Slot(site.name, (site,), _choices(kinds, [site])) for site in sites]


def _choices(kinds: Kinds, sites: Sequence[Site]) -> tuple[Gates, ...]:
    """Return the empty choice, then the choices of each gate kind: every combination of its parameter values.

    If one choice places gates at several sites, the last site at which the kind fits decides the values, because no
    earlier site is wider.
    """
    choices: list[Gates] = [()]
    for kind, written in kinds.items():
        fitting = [site for site in sites if fits(kind, site)]
        values = _values(kind, fitting[-1], written) if fitting else {}
        for row in product(*values.values()) if fitting else ():
            params = dict(zip(values, row, strict=True))
            choices.append(tuple(PlacedGate.of(kind, site.name, **params) for site in fitting))
    return tuple(choices)


def _values(kind: str, site: Site, written: Mapping[str, Sequence[Scalar]]) -> dict[str, Sequence[Scalar]]:
    """Return the values of each parameter to search; a parameter with only one value at the site has that value."""
    own = kind_of(kind).choices(site)
    return {name: values if len(values) == 1 else written.get(name, values) for name, values in own.items()}


def _kinds_for(site_type: type[Site], kinds: Kinds) -> Kinds:
    return {name: written for name, written in kinds.items() if kind_of(name).site_type is site_type}


def _fitting(kinds: Kinds, site: Site) -> list[str]:
    """Return the kinds that can go at a site."""
    return [kind for kind in kinds if fits(kind, site)]


def _check_kinds(kinds: Kinds, sites: Sequence[Site]) -> None:
    """Refuse unknown kinds, parameters, values and combinations before anything is trained."""
    for name, written in kinds.items():
        kind = kind_of(name, "space.kinds")
        site = next((site for site in sites if fits(name, site)), None)
        if site is None:
            continue
        own = kind.choices(site)
        for param in written:
            if param not in own:
                raise unknown(f"space.kinds.{name}", "parameter", param, own)
        values = {param: written.get(param, default) for param, default in own.items()}
        for row in product(*values.values()):
            _check_values(name, dict(zip(values, row, strict=True)), site)


def _check_values(kind: str, values: Mapping[str, Scalar], site: Site) -> None:
    """Refuse a combination of values that a gate kind refuses.

    The message names a parameter if the value of this parameter alone is refused.
    """
    refusal = _refusal(kind, values, site)
    if refusal is None:
        return
    alone = [name for name, value in values.items() if _refusal(kind, {name: value}, site) is not None]
    raise UserError(f"{'.'.join(['space.kinds', kind, *alone[:1]])}: {refusal}")


def _refusal(kind: str, values: Mapping[str, Scalar], site: Site) -> UserError | None:
    placed = PlacedGate.of(kind, site.name, **values)
    try:
        params_of(site, placed)
    except UserError as error:
        return error
    return None
