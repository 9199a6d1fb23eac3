"""Reads the fields of a record that may still be incomplete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Record = Mapping[str, Any]
"""``record.json`` as parsed. Any value may still be null, so code reads the values with :func:`read`."""


def read(tree: Any, *path: str, default: Any = None) -> Any:
    """Return a value of nested mappings; a missing key, or null anywhere on the path, gives the default.

    >>> read({"best": {"accuracy": 0.9}}, "best", "accuracy")
    0.9
    >>> read({"best": None}, "best", "accuracy", default="none")
    'none'
    """
    for key in path:
        if not isinstance(tree, Mapping):
            return default
        tree = tree.get(key)
    return default if tree is None else tree


def list_kinds(record: Record) -> tuple[str, ...]:
    """Return the kinds of input in a fixed order: ``positive`` first, then each kind of negative."""
    kinds = dict.fromkeys(read(record, "data", "stream", default={}))
    for stage in read(record, "stages", default=()):
        kinds |= dict.fromkeys(read(stage, "reach", default={}))
    for gate in read(record, "gates", default=()):
        kinds |= dict.fromkeys(read(gate, "early_stop", default={}))
    return ("positive", *(kind for kind in kinds if kind not in {"positive", "stream"}))


def list_cores(record: Record) -> tuple[str, ...]:
    """Return every core that the record names; those of the plan are in order of rising cost."""
    cores = [
        *read(record, "energy", "by_core", default={}),
        *read(record, "energy", "ungated_by_core", default={}),
        *read(record, "plan", "cores", default=()),
    ]
    for holder in (*read(record, "stages", default=()), read(record, "frontend"), read(record, "reference")):
        core = read(holder, "core")
        if core:
            cores.append(core)
    return tuple(dict.fromkeys(cores))


def list_trained(record: Record) -> list[Mapping[str, Any]]:
    """Return the trials that were trained and priced."""
    return [
        trial
        for trial in read(record, "trials", default=())
        if read(trial, "accuracy") is not None and read(trial, "expected_energy_uj", default=0) > 0
    ]


def quality_name(record: Record) -> str:
    """Return the name of the quality measure that the goal of the run uses.

    >>> quality_name({}), quality_name({"goal": {"quality": "fidelity"}})
    ('accuracy', 'fidelity')
    """
    name: str = read(record, "goal", "quality", default="accuracy")
    return name


def decision_name(record: Record) -> str:
    """Return the unit of time for which costs are given: a hop of a stream, or a window.

    >>> decision_name({}), decision_name({"stream": {"hop_ms": 40.0}})
    ('window', 'hop')
    """
    return "window" if read(record, "stream") is None else "hop"


def has_labels(record: Record) -> bool:
    """Say whether the samples are labelled as positives and negatives."""
    return bool(read(record, "goal", "name", default="classification") != "reconstruction")


def quality_key(record: Record) -> str:
    """Return the key of a model's quality among its figures.

    >>> quality_key({}), quality_key({"goal": {"name": "detection"}})
    ('accuracy', 'detected')
    """
    return _QUALITY_KEYS.get(read(record, "goal", "name", default="classification"), "quality")


_QUALITY_KEYS = {"classification": "accuracy", "detection": "detected", "reconstruction": "quality"}


def can_stop(record: Record) -> bool:
    """Say whether a gate of the plan can stop a window; True until a plan is picked.

    A layer gate stops nothing. In a run without labels, a gate sends windows along another path and stops none.

    >>> gate = {"site": "conv1", "kind": "pg"}
    >>> plan = {"gates": [gate]}
    >>> can_stop({"plan": plan, "layers": [gate]}), can_stop({"plan": plan}), can_stop({})
    (False, True, True)
    """
    gates = read(record, "plan", "gates")
    return has_labels(record) and (gates is None or any(not is_in_layer(record, gate) for gate in gates))


def is_in_layer(record: Record, gate: Mapping[str, Any]) -> bool:
    """Say whether a gate of the plan stands in the place of a layer."""
    key = (read(gate, "site"), read(gate, "kind"))
    return any((read(row, "site"), read(row, "kind")) == key for row in read(record, "layers", default=()))
