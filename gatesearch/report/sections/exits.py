"""The text between two stages of a plan: what the gate stops, and what it sends to the next core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gatesearch.report.fields import read
from gatesearch.report.sections.paths import describe_light_path
from gatesearch.report.text import format_kind, format_micro, format_percent, format_value

Row = Mapping[str, Any]


def describe_exit(stage: Row, next_stage: Row, gate: Row | None, sites: Sequence[Row]) -> dict[str, str]:
    """Return the texts after a stage: ``gate``, ``site``, ``how`` it decides, what it ``stops`` and what it ``sends``.

    Args:
        stage: the stage before the gate.
        next_stage: the stage after the gate.
        gate: the gate at the last site of the stage; None where the plan only cuts there.
        sites: the sites of the record.
    """
    link = _describe_link(stage, next_stage)
    if gate is None:
        return {"gate": "cut", "site": read(stage, "last_site", default="?"), "how": "", "stops": "", "sends": link}
    stops = [
        f"{format_kind(kind)} {'-' if share is None else format_percent(share)}"
        for kind, share in read(gate, "early_stop", default={}).items()
    ]
    return {
        "gate": gate["kind"],
        "site": gate["site"],
        "how": _describe_decision(gate),
        "stops": f"stops {', '.join(stops)}" if stops else describe_light_path(stage),
        "sends": f"{_describe_passed(gate, sites)}; {link}",
    }


def format_params(gate: Row) -> str:
    """Return the parameters of a gate as text."""
    return ", ".join(f"{name} {format_value(value)}" for name, value in read(gate, "params", default={}).items())


def _describe_link(stage: Row, next_stage: Row) -> str:
    core, next_core = read(stage, "core", default="?"), read(next_stage, "core", default="?")
    if core == next_core:
        return f"stays on {core}"
    energy = read(next_stage, "energy_uj", "link")  # the energy of a link counts for the stage that it leads to
    cost = "" if energy is None else f", {format_micro(energy, 'J')} per window"
    return f"link {core} → {next_core}{cost}"


def _describe_decision(gate: Row) -> str:
    parts = [format_params(gate)]
    if read(gate, "theta") is not None:
        parts.append(f"threshold {gate['theta']:.3g}")
    if read(gate, "gate_recall") is not None:
        parts.append(f"passes {format_percent(gate['gate_recall'])} of positives")
    return "; ".join(part for part in parts if part)


def _describe_passed(gate: Row, sites: Sequence[Row]) -> str:
    site: Row = next((site for site in sites if site["name"] == gate["site"]), {})
    shape = read(site, "shape", default=())
    channels = shape[read(site, "channel_axis", default=0)] if shape else None
    sent_channels = read(gate, "kept_channels")
    if sent_channels is None or channels is None:
        text = "sends what it passes"
    else:
        text = f"sends {sent_channels} of {channels} channels"
    zeros = read(gate, "activation_sparsity", "element")
    return text if zeros is None else f"{text}, {format_percent(zeros, 0)} zeros"
