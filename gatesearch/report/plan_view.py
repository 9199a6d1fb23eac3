"""The plan laid on the backbone: which sites each stage runs, and which gate stands after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatesearch.report.layer_view import told
from gatesearch.report.paths_view import leaving as taking_the_light_path
from gatesearch.report.style import core_colours
from gatesearch.report.values import TIMES, Record, at, cores, in_layer, kind_label, micro, percent, plain, si

_NO_CORE = "#9aa5af"


def stages(record: Record) -> list[dict[str, Any]]:
    """Return what the page draws for each stage, in order.

    Each has ``title``, ``core``, ``colour``, ``sites``, ``layers`` (the gates in its layers, in words), ``facts``
    (label and text), ``elsewhere`` (names to print where no site of the record is its own) and ``exit``: the gate
    before the next stage with what it stops and sends on, or None after the last stage. A site has ``name``,
    ``shape``, ``marks`` (the gates inside it) and, for a layer that has less to do, ``left``, the share; ``gated``
    says whether by a gate of its own.
    Before a plan is picked this is one stage without a core: the bare backbone.
    """
    sites = list(at(record, "sites", default=()))
    found = list(at(record, "stages", default=())) or ([{"title": "backbone"}] if sites else [])
    gates = _gates(record)
    drawn, start = [], 0
    for place, stage in enumerate(found):
        last = place == len(found) - 1
        end = len(sites) if last else max(start, _position(sites, at(stage, "last_site"), start - 1) + 1)
        layers = [row for row in at(record, "layers", default=()) if at(row, "stage", default=place) == place]
        boxes = _boxes(sites[start:end], layers) if sites else _all_layers(record, layers)
        leaving = None if last else next((g for g in gates if g["site"] == at(stage, "last_site")), None)
        inside = [gate for gate in gates if gate is not leaving]
        core = at(stage, "core")
        drawn.append(
            {
                "title": at(stage, "title") or f"stage {at(stage, 'index', default=place)}",
                "core": core,
                "colour": colour(record, core),
                "sites": [_box(site, inside) for site in boxes],
                "layers": _told(record, layers),
                "facts": _facts(stage),
                "exit": None if last else _exit(stage, found[place + 1], leaving, sites),
                "elsewhere": [] if boxes else [at(stage, "first_site"), at(stage, "last_site")],
            }
        )
        start = end
    return drawn


def colour(record: Record, core: str | None) -> str:
    """Return the colour of a core, grey where there is none yet."""
    return core_colours(cores(record)).get(core or "", _NO_CORE)


def _gates(record: Record) -> list[dict[str, Any]]:
    # The plan says what was asked for, the record's gates what came of it; they pair by site, in order.
    measured = list(at(record, "gates", default=()))
    merged = []
    for gate in at(record, "plan", "gates", default=()):
        if in_layer(record, gate):
            continue
        match = next((m for m in measured if at(m, "site") == gate["site"]), None)
        if match:
            measured.remove(match)
        merged.append({**(match or {}), **gate})
    return merged


def _position(sites: list[Mapping[str, Any]], name: str | None, otherwise: int) -> int:
    return next((place for place, site in enumerate(sites) if site["name"] == name), otherwise)


def _shape(site: Mapping[str, Any]) -> str:
    return TIMES.join(str(size) for size in at(site, "shape", default=()))


def _boxes(sites: list[Mapping[str, Any]], layers: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Put the gated layers of a stage among its sites, each behind the site where its block begins."""
    names = [site["name"] for site in sites]
    boxes = [row for row in layers if at(row, "block") not in names]  # the block begins where the stage before ended
    for site in sites:
        boxes += [site, *(row for row in layers if at(row, "block") == site["name"])]
    return boxes


def _all_layers(record: Record, layers: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Where the search had no cut sites, the layers are what there is to draw the backbone by."""
    gated = {at(row, "site"): row for row in layers}
    drawn: list[Mapping[str, Any]] = [
        gated.get(at(site, "name"), site) for site in at(record, "layer_sites", default=())
    ]
    return drawn or layers


def _box(site: Mapping[str, Any], gates: list[dict[str, Any]]) -> dict[str, Any]:
    name = at(site, "name", default=at(site, "site", default="?"))
    left = percent(at(site, "share"), 0) if "share" in site else None
    marks = [f"{gate['kind']} {_params(gate)}".strip() for gate in gates if gate["site"] == name]
    gated = bool(left and at(site, "kind"))
    return {"name": name, "shape": _shape(site), "left": left, "gated": gated, "marks": [] if left else marks}


def _told(record: Record, layers: list[Mapping[str, Any]]) -> list[str]:
    gated = [row for row in layers if at(row, "kind")]
    return told(gated, {row["kind"] for row in gated})


def _params(gate: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {plain(value)}" for name, value in at(gate, "params", default={}).items())


def _facts(stage: Mapping[str, Any]) -> list[tuple[str, str]]:
    if not at(stage, "core"):
        return []
    energy = [value for value in at(stage, "energy_uj", default={}).values() if value is not None]
    return [
        ("reached by", percent(at(stage, "reach", "stream"))),
        ("MACs", si(at(stage, "macs"))),
        ("weights", si(at(stage, "weight_bytes"), "B")),
        ("latency", micro(at(stage, "latency_us"), "s")),
        ("energy", micro(sum(energy) if energy else None, "J")),
    ]


def _exit(
    stage: Mapping[str, Any],
    after: Mapping[str, Any],
    gate: Mapping[str, Any] | None,
    sites: list[Mapping[str, Any]],
) -> dict[str, Any]:
    same = at(stage, "core") == at(after, "core")
    way = (
        f"stays on {at(stage, 'core', default='?')}"
        if same
        else f"link {at(stage, 'core', default='?')} → {at(after, 'core', default='?')}"
    )
    link = at(after, "energy_uj", "link")  # what it costs to enter a stage is that stage's
    if not same and link is not None:
        way += f", {micro(link, 'J')} per window"
    if gate is None:
        return {
            "gate": "cut",
            "site": at(stage, "last_site", default="?"),
            "how": "",
            "stops": "",
            "sends": way,
        }
    site = next((s for s in sites if s["name"] == gate["site"]), {})
    shape = at(site, "shape", default=())
    keep, channels = at(gate, "kept_channels"), shape[at(site, "channel_axis", default=0)] if shape else None
    kept = "sends what it passes" if keep is None or channels is None else f"sends {keep} of {channels} channels"
    zeros = at(gate, "activation_sparsity", "element")
    if zeros is not None:
        kept += f", {percent(zeros, 0)} zeros"
    how = [_params(gate)]
    if at(gate, "theta") is not None:
        how.append(f"threshold {gate['theta']:.3g}")
    if at(gate, "gate_recall") is not None:
        how.append(f"passes {percent(gate['gate_recall'])} of positives")
    stops = [f"{kind_label(kind)} {percent(share)}" for kind, share in at(gate, "early_stop", default={}).items()]
    return {
        "gate": gate["kind"],
        "site": gate["site"],
        "how": "; ".join(part for part in how if part),
        "stops": f"stops {', '.join(stops)}" if stops else taking_the_light_path(stage),
        "sends": f"{kept}; {way}",
    }
