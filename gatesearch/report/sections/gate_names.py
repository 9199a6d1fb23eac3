"""The full names of the gate kinds that the report shows by their short names."""

from __future__ import annotations

from gatesearch.report.fields import Record, list_trained, read

GATE_NAMES = {
    "dsl": "Dynamic Switch Layers",
    "fbs": "Feature Boosting and Suppression",
    "fbs_pg": "Feature Boosting and Suppression with Precision Gating",
    "gc": "Gated Compression",
    "hmd": "Hybrid Matrix Decomposition",
    "level": "a gate on one statistic of the samples",
    "lmf": "low-rank matrix factorisation",
    "pg": "Precision Gating",
    "pruned": "magnitude pruning",
}
"""The full name of each gate kind of gatesearch; kinds of plug-ins have only their short name."""


def describe_kinds(record: Record) -> str:
    """Return a sentence with the full names of the gate kinds in the plans of a record; empty if there are none.

    >>> describe_kinds({"plan": {"gates": [{"kind": "pg"}, {"kind": "gc"}]}})
    'Gate kinds: gc is Gated Compression; pg is Precision Gating.'
    """
    plans = [read(record, "plan", default={}), *(read(trial, "plan", default={}) for trial in list_trained(record))]
    kinds = {read(gate, "kind") for plan in plans for gate in read(plan, "gates", default=())}
    names = [f"{kind} is {name}" for kind, name in GATE_NAMES.items() if kind in kinds]
    return f"Gate kinds: {'; '.join(names)}." if names else ""
