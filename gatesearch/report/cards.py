"""The cards of a report's marks: a plan with its gates, cores, power and quality, a part of the energy, an event."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from gatesearch.report.fields import Record, decision_name, quality_key, quality_name, read
from gatesearch.report.marks import Card
from gatesearch.report.sections.layers import describe_gates
from gatesearch.report.text import format_micro, format_percent, format_si

Row = tuple[str, str, str]
# By term of the energy: parts of the paths of the constants from which it is computed.
TERM_CONSTANTS: Mapping[str, tuple[str, ...]] = {
    "sense": ("sense.",),
    "frontend": (".timing.", ".active_mw"),
    "compute": (".timing.", ".active_mw"),
    "weights": (".weights_nj_per_byte",),
    "link": ("links.",),
    "wake": (".wake_us", ".wake_uj"),
    "idle": (".idle_mw", ".floor_mw"),
}


def plan_card(record: Record, trial: Mapping[str, Any]) -> Card:
    """Return the card of a trial: its plan, its figures in the search, and the command that picks it."""
    digest = read(trial, "digest", default="?")
    notes = [
        *(["picked"] if digest == read(record, "best", "digest") else []),
        *(["on the front"] if read(trial, "on_front") else []),
        *([] if read(trial, "feasible", default=True) else ["breaks a constraint"]),
    ]
    quality = read(trial, "accuracy")
    energy_uj, period_s = read(trial, "expected_energy_uj"), read(record, "data", "period_s")
    rows = [*_plan_rows(record, read(trial, "plan"))]
    if quality is not None:
        rows.append((f"validation {quality_name(record)}", format_percent(quality), "measured"))
        if quality_key(record) == "detected":
            rows.append(("miss rate", format_percent(1 - quality), "measured"))
    if energy_uj is not None:
        if period_s:
            rows.append(("mean power", format_micro(energy_uj / period_s, "W"), "modelled"))
        rows.append((f"energy a {decision_name(record)}", format_micro(energy_uj, "J"), "modelled"))
    latency_us = read(trial, "expected_latency_us")
    if latency_us is not None:
        rows.append(("latency", format_micro(latency_us, "s"), "modelled"))
    cores = read(trial, "plan", "cores", default=())
    return Card(
        title=f"plan {digest}" + "".join(f", {note}" for note in notes),
        rows=tuple(rows),
        command=f"gatesearch pick {shlex.quote(run_path(record))} plan={digest}",
        constants=constants_of_cores(record, cores),
    )


def method_card(record: Record, name: str, point: tuple[float, float], figures: Mapping[str, Any] | None) -> Card:
    """Return the card of a point of a DET curve.

    Args:
        record: the record of the run.
        name: the name of the method, for people.
        point: false accepts an hour and miss rate at the point.
        figures: the figures of the method at the threshold that was set; None for another threshold.
    """
    rows: list[Row] = [
        ("miss rate", format_percent(point[1]), "measured"),
        ("false accepts an hour", f"{point[0]:.3g}", "measured"),
    ]
    if figures is None:
        return Card(name, tuple(rows))
    power_mw = read(figures, "mean_power_mw")
    if power_mw is not None:
        rows.append(("mean power", format_si(power_mw / 1e3, "W"), "modelled"))
    rows += _plan_rows(record, read(figures, "plan"))
    cores = read(figures, "plan", "cores", default=())
    return Card(f"{name}, as set on validation", tuple(rows), constants=constants_of_cores(record, cores))


def energy_card(record: Record, bar: str, part: str, value_uj: float, total_uj: float) -> Card:
    """Return the card of a part of a bar of energy; the part is a term or a core."""
    is_core = any(path.startswith(f"cores.{part}.") for path in _paths(record))
    words = (f"cores.{part}.",) if is_core else TERM_CONSTANTS.get(part, ())
    rows = (
        (f"energy a {decision_name(record)}", format_micro(value_uj, "J"), "modelled"),
        (f"share of {bar}", format_percent(value_uj / total_uj if total_uj else 0.0), "modelled"),
    )
    constants = (place for place, path in enumerate(_paths(record)) if any(word in path for word in words))
    return Card(f"{part}, {bar}", rows, constants=_without_other_clocks(record, constants))


def constants_of_cores(record: Record, cores: Iterable[str]) -> tuple[int, ...]:
    """Return the places of the constants on which the price of a plan on these cores rests.

    They include those of the front end's core, and the power of all cores that rest.
    """
    names = dict.fromkeys([read(record, "frontend", "core", default=""), *cores])
    starts, ends = ("sense.", "links.", *(f"cores.{core}." for core in names)), TERM_CONSTANTS["idle"]
    paths = enumerate(_paths(record))
    return _without_other_clocks(record, (k for k, path in paths if path.startswith(starts) or path.endswith(ends)))


def run_path(record: Record) -> str:
    """Return the run folder that the record's command names; ``RUN`` where it names none.

    >>> run_path({"command": "gatesearch run recipe=runs/kws-1/recipe.yaml"}), run_path({})
    ('runs/kws-1', 'RUN')
    >>> run_path({"command": "gatesearch pick runs/kws-1 plan=ab"})
    'runs/kws-1'
    """
    try:
        words = shlex.split(read(record, "command", default=""))
    except ValueError:  # a quotation mark without an end
        return "RUN"
    if words[1:2] == ["pick"] and len(words) > 2:
        return words[2]
    recipes = (word.removeprefix("recipe=") for word in words if word.startswith("recipe="))
    return next((path.removesuffix("/recipe.yaml") for path in recipes if path.endswith("/recipe.yaml")), "RUN")


def _plan_rows(record: Record, plan: Any) -> list[Row]:
    if not isinstance(plan, Mapping):
        return []
    gates = "; ".join(describe_gates(read(plan, "gates", default=()), read(record, "layer_kinds", default=())))
    clocks = "".join(f"; {core} at {clock}" for core, clock in read(plan, "clocks", default={}).items())
    return [("gates", gates or "none", ""), ("cores", " → ".join(read(plan, "cores", default=())) + clocks, "")]


def _paths(record: Record) -> list[str]:
    return [read(constant, "path", default="") for constant in read(record, "constants", default=())]


def _without_other_clocks(record: Record, places: Iterable[int]) -> tuple[int, ...]:
    paths = _paths(record)
    return tuple(place for place in places if ".clocks." not in paths[place])
