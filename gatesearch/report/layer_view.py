"""Gates in the place of layers, as the page tells of them: which layers, what is left, what a core skips of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import groupby
from typing import Any

from gatesearch.report.values import Record, at, percent, plain, si

_LISTED = 4  # more sites than this are told as the first and the last


def told(gates: Sequence[Mapping[str, Any]], layer_kinds: Collection[str]) -> list[str]:
    """Return a phrase for each gate at a cut, and one for neighbours in layers that differ in their site alone.

    >>> gates = [{"kind": "gc", "site": "stem", "params": {"keep": 0.5}},
    ...          *({"kind": "pg", "site": site, "params": {"bits": 8}} for site in ("conv1", "conv2"))]
    >>> told(gates, {"pg"})
    ['gc after stem', 'pg in conv1, conv2: bits 8']
    """
    phrases = []
    for (kind, params), group in groupby(gates, key=lambda gate: (plain(at(gate, "kind")), _params(gate))):
        sites = [plain(at(gate, "site")) for gate in group]
        if kind in layer_kinds:
            phrases.append(f"{kind} in {_listed(sites)}{': ' if params else ''}{params}")
        else:
            phrases += [f"{kind} after {site}" for site in sites]
    return phrases


def observed(record: Record) -> dict[str, str]:
    """Return what the gates report, of that which has a column: name and head.

    The record says which figures have one; in a record from before it did, every share has its name as head.
    """
    reports = [at(row, "report", default={}) for row in at(record, "layers", default=())]
    shares = {name: name for report in reports for name, value in report.items() if 0 <= value <= 1}
    heads = at(record, "layer_figures", default=shares)
    return {name: head for name, head in heads.items() if any(at(report, name) is not None for report in reports)}


def table(record: Record) -> list[dict[str, Any]]:
    """Return a row for each layer that costs less than alone.

    Neighbours with equal gates on one core share the cell that names them: ``span`` is the number of rows that it
    takes, 0 where an earlier row has it.
    """
    rows, columns = [], observed(record)
    found = at(record, "layers", default=())
    for (kind, params, skips), group in groupby(found, key=lambda row: (at(row, "kind"), _params(row), _skips(row))):
        members = list(group)
        for place, row in enumerate(members):
            rows.append(
                {
                    "span": 0 if place else len(members),
                    "gate": kind or "no gate, reads less",
                    "params": params,
                    "skips": skips,
                    "site": at(row, "site", default="?"),
                    "observed": [_if_there(at(row, "report", name)) for name in columns],
                    "dense": si(at(row, "macs")),
                    "left": si(at(row, "macs_left")),
                    "share": percent(at(row, "share")),
                    "kernels": percent(at(row, "kernels", "share")),
                }
            )
    return rows


def totals(record: Record) -> tuple[float | None, float | None]:
    """Return the MACs of all rows, dense and left."""
    return at(record, "best", "layer_macs", "dense"), at(record, "best", "layer_macs", "left")


def share_left(record: Record) -> float | None:
    """Return the share of those MACs that is left."""
    dense, left = totals(record)
    return None if left is None or not dense else left / dense


def _params(gate: Mapping[str, Any]) -> str:
    return plain(at(gate, "params", default={}))


def _listed(sites: Sequence[str]) -> str:
    return ", ".join(sites) if len(sites) <= _LISTED else f"{len(sites)} layers, {sites[0]} to {sites[-1]}"


def _if_there(share: float | None) -> str:
    return "" if share is None else percent(share)


def _skips(row: Mapping[str, Any]) -> str:
    skipped, rest = at(row, "kernels", "skipped", default=()), at(row, "kernels", "not_skipped", default=())
    if not skipped and not rest:
        return f"{at(row, 'core', default='?')}, nothing to skip"
    cannot = f", cannot skip {', '.join(rest)}" if rest else ""
    return f"{at(row, 'core', default='?')} skips {', '.join(skipped) or 'nothing'}{cannot}"
