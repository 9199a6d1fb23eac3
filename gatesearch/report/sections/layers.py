"""The section on layer gates: the gated layers, the work that is left in them, and what a core skips."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import groupby
from typing import Any

from gatesearch.report.fields import Record, read
from gatesearch.report.text import format_percent, format_si, format_value

_MAX_LISTED_SITES = 4  # for more sites, a phrase names the first and the last


def describe_gates(gates: Sequence[Mapping[str, Any]], layer_kinds: Collection[str]) -> list[str]:
    """Return a phrase for each cut gate, and one for neighbouring layer gates that differ in their site alone.

    >>> gates = [{"kind": "gc", "site": "stem", "params": {"keep": 0.5}}]
    >>> gates += [{"kind": "pg", "site": site, "params": {"bits": 8}} for site in ("conv1", "conv2")]
    >>> describe_gates(gates, {"pg"})
    ['gc after stem', 'pg in conv1, conv2: bits 8']
    """
    phrases = []
    for (kind, params), group in groupby(gates, key=_kind_and_params):
        sites = [format_value(read(gate, "site")) for gate in group]
        if kind in layer_kinds:
            phrases.append(f"{kind} in {_list_sites(sites)}{': ' if params else ''}{params}")
        else:
            phrases += [f"{kind} after {site}" for site in sites]
    return phrases


def list_columns(record: Record) -> dict[str, str]:
    """Return the headings of the table's columns for figures of gates, by the name of the figure.

    The record's ``layer_figures`` holds these headings. An older record lacks that key, so each of its shares has a
    column, with the share's name as the heading.
    """
    reports = [read(row, "report", default={}) for row in read(record, "layers", default=())]
    figures = [item for report in reports for item in report.items()]
    shares = {name: name for name, value in figures if value is not None and 0 <= value <= 1}
    headings = read(record, "layer_figures", default=shares)
    return {
        name: heading for name, heading in headings.items() if any(read(report, name) is not None for report in reports)
    }


def build_table(record: Record) -> list[dict[str, Any]]:
    """Return a row for each layer that costs less than in the ungated backbone.

    Neighbouring layers with equal gates on one core share the cell that names the gate. ``span`` is the number of rows
    that the cell covers; it is 0 where the cell of an earlier row covers this row.
    """
    columns = list_columns(record)
    rows = []
    for (kind, params, skips), group in groupby(read(record, "layers", default=()), key=_gate_cell):
        members = list(group)
        for index, row in enumerate(members):
            shares = [read(row, "report", name) for name in columns]
            rows.append(
                {
                    "span": len(members) if index == 0 else 0,
                    "gate": kind or "no gate, fewer inputs",
                    "params": params,
                    "skips": skips,
                    "site": read(row, "site", default="?"),
                    "observed": ["" if share is None else format_percent(share) for share in shares],
                    "dense": format_si(read(row, "macs")),
                    "left": format_si(read(row, "macs_left")),
                    "share": format_percent(read(row, "share")),
                    "kernels": format_percent(read(row, "kernels", "share")),
                }
            )
    return rows


def total_macs(record: Record) -> tuple[float | None, float | None]:
    """Return two sums of multiply-accumulates (MACs) over all rows: without gates, and with gates."""
    return read(record, "best", "layer_macs", "dense"), read(record, "best", "layer_macs", "left")


def share_left(record: Record) -> float | None:
    """Return the share of the dense MACs that is left."""
    dense, left = total_macs(record)
    return None if left is None or not dense else left / dense


def list_kernel_sources(record: Record) -> dict[str, str]:
    """Return, for each core, a text that names the source of its kernels' shares of work."""
    rows = [row for row in read(record, "layers", default=()) if read(row, "kernels", "source")]
    return {read(row, "core"): row["kernels"]["source"] for row in rows}


def list_kernel_provenances(record: Record) -> list[str]:
    """Return the provenances of the shares that kernels compute, each once."""
    rows = read(record, "layers", default=())
    return sorted({read(row, "kernels", "provenance", default="assumed") for row in rows})


def _kind_and_params(gate: Mapping[str, Any]) -> tuple[str, str]:
    return format_value(read(gate, "kind")), format_value(read(gate, "params", default={}))


def _gate_cell(row: Mapping[str, Any]) -> tuple[str | None, str, str]:
    return read(row, "kind"), format_value(read(row, "params", default={})), _describe_skips(row)


def _list_sites(sites: Sequence[str]) -> str:
    if len(sites) <= _MAX_LISTED_SITES:
        return ", ".join(sites)
    return f"{len(sites)} layers, {sites[0]} to {sites[-1]}"


def _describe_skips(row: Mapping[str, Any]) -> str:
    core = read(row, "core", default="?")
    skipped = read(row, "kernels", "skipped", default=())
    not_skipped = read(row, "kernels", "not_skipped", default=())
    if not skipped and not not_skipped:
        return f"{core}, nothing to skip"
    cannot = f", cannot skip {', '.join(not_skipped)}" if not_skipped else ""
    return f"{core} skips {', '.join(skipped) or 'nothing'}{cannot}"
