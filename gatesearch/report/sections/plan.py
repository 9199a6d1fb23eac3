"""The section on the plan: sites and gated layers of each stage, and the gate before the next stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gatesearch.report.fields import Record, is_in_layer, list_cores, read
from gatesearch.report.sections.exits import describe_exit, format_params
from gatesearch.report.sections.layers import describe_gates
from gatesearch.report.style import core_colours
from gatesearch.report.text import TIMES_SIGN, format_micro, format_percent, format_si

_NO_CORE_COLOUR = "#9aa5af"

Row = Mapping[str, Any]


def build_stages(record: Record) -> list[dict[str, Any]]:
    """Return a description of each stage for the template to draw, in order.

    A stage has these entries:

    * ``title``, ``core`` and ``colour``.
    * ``sites``: the stage's sites and gated layers. Each has ``name``, ``shape``, ``marks`` (the gates inside it),
      ``left`` (for a layer with less work, the share that is left) and ``gated`` (whether it has its own gate).
    * ``layers``: the gates in the stage's layers, in words.
    * ``facts``: pairs of label and text.
    * ``exit``: the gate before the next stage, what it stops and what it sends on; None after the last stage.
    * ``elsewhere``: names to print if the record lists no site of the stage.

    Before a plan is picked, there is one stage without a core: the bare backbone.
    """
    sites = list(read(record, "sites", default=()))
    stages = list(read(record, "stages", default=()))
    if sites and not stages:
        stages = [{"title": "backbone"}]
    gates = _merge_gates(record)
    drawn = []
    start = 0
    for index, stage in enumerate(stages):
        is_last = index == len(stages) - 1
        last_site = read(stage, "last_site")
        end = len(sites) if is_last else max(start, _find_position(sites, last_site, start - 1) + 1)
        layers = [row for row in read(record, "layers", default=()) if read(row, "stage", default=index) == index]
        boxes = _place_layers(sites[start:end], layers) if sites else _list_layers(record, layers)
        exit_gate = None if is_last else next((gate for gate in gates if gate["site"] == last_site), None)
        inner_gates = [gate for gate in gates if gate is not exit_gate]
        core = read(stage, "core")
        drawn.append(
            {
                "title": read(stage, "title") or f"stage {read(stage, 'index', default=index)}",
                "core": core,
                "colour": core_colour(record, core),
                "sites": [_build_box(box, inner_gates) for box in boxes],
                "layers": _describe_layers(layers),
                "facts": _list_facts(stage),
                "exit": None if is_last else describe_exit(stage, stages[index + 1], exit_gate, sites),
                "elsewhere": [] if boxes else [read(stage, "first_site"), last_site],
            }
        )
        start = end
    return drawn


def core_colour(record: Record, core: str | None) -> str:
    """Return the colour of a core; grey for a stage that has no core yet."""
    return core_colours(list_cores(record)).get(core or "", _NO_CORE_COLOUR)


def _merge_gates(record: Record) -> list[dict[str, Any]]:
    """Return the plan's cut gates, each with its parameters and its measurements.

    The plan holds the parameters, and the record's gates hold the measurements. Both are paired by site, in order.
    """
    measured = list(read(record, "gates", default=()))
    merged = []
    for gate in read(record, "plan", "gates", default=()):
        if is_in_layer(record, gate):
            continue
        match = next((row for row in measured if read(row, "site") == gate["site"]), None)
        if match:
            measured.remove(match)
        merged.append({**(match or {}), **gate})
    return merged


def _find_position(sites: Sequence[Row], name: str | None, otherwise: int) -> int:
    return next((position for position, site in enumerate(sites) if site["name"] == name), otherwise)


def _place_layers(sites: Sequence[Row], layers: Sequence[Row]) -> list[Row]:
    """Return the sites of a stage with its gated layers, each layer after the site where the layer's block begins."""
    names = [site["name"] for site in sites]
    # The block of the first layers begins where the stage before ended, at a site that is not in this stage.
    boxes = [row for row in layers if read(row, "block") not in names]
    for site in sites:
        boxes.append(site)
        boxes += [row for row in layers if read(row, "block") == site["name"]]
    return boxes


def _list_layers(record: Record, layers: Sequence[Row]) -> list[Row]:
    """Return the layers that stand for the backbone where the search had no cut sites."""
    gated = {read(row, "site"): row for row in layers}
    layer_sites: Sequence[Row] = read(record, "layer_sites", default=())
    return [gated.get(read(site, "name"), site) for site in layer_sites] or list(layers)


def _build_box(site: Row, gates: Sequence[Row]) -> dict[str, Any]:
    name = read(site, "name", default=read(site, "site", default="?"))
    left = format_percent(read(site, "share"), 0) if "share" in site else None
    marks = [f"{gate['kind']} {format_params(gate)}".strip() for gate in gates if gate["site"] == name]
    return {
        "name": name,
        "shape": TIMES_SIGN.join(str(size) for size in read(site, "shape", default=())),
        "left": left,
        "gated": bool(left and read(site, "kind")),
        "marks": [] if left else marks,
    }


def _describe_layers(layers: Sequence[Row]) -> list[str]:
    gated = [row for row in layers if read(row, "kind")]
    return describe_gates(gated, {row["kind"] for row in gated})


def _list_facts(stage: Row) -> list[tuple[str, str]]:
    if not read(stage, "core"):
        return []
    energy = [value for value in read(stage, "energy_uj", default={}).values() if value is not None]
    clock = read(stage, "clock")
    return [
        *([] if clock is None else [("clock", str(clock))]),
        ("reached by", format_percent(read(stage, "reach", "stream"))),
        ("MACs", format_si(read(stage, "macs"))),
        ("weights", format_si(read(stage, "weight_bytes"), "B")),
        ("latency", format_micro(read(stage, "latency_us"), "s")),
        ("energy", format_micro(sum(energy) if energy else None, "J")),
    ]
