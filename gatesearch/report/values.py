"""Reading a record that may still be filling, and printing its numbers for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

Record = Mapping[str, Any]
"""``record.json`` as parsed; :func:`at` reads it, because any value may still be null."""

NOT_YET = "not yet"
TIMES, _MINUS = "\u00d7", "\u2212"
_SPACE = "\u00a0"  # a number and its unit stay on one line
_PREFIXES = {-12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}


def at(values: Any, *path: str, default: Any = None) -> Any:
    """Walk nested mappings; a missing key, or null anywhere on the way, gives the default.

    >>> at({"best": {"accuracy": 0.9}}, "best", "accuracy")
    0.9
    >>> at({"best": None}, "best", "accuracy", default="none")
    'none'
    """
    for key in path:
        if not isinstance(values, Mapping):
            return default
        values = values.get(key)
    return default if values is None else values


def percent(value: float | None, digits: int = 1) -> str:
    """Print a share.

    >>> percent(0.9434), percent(None)
    ('94.3\\xa0%', 'not yet')
    """
    return NOT_YET if value is None else f"{100 * value:.{digits}f}{_SPACE}%"


def points(value: float | None) -> str:
    """Print a difference of two shares in percentage points, signed.

    >>> ascii(points(-0.0041))
    "'\\\\u22120.4\\\\xa0points'"
    """
    return NOT_YET if value is None else f"{100 * value:+.1f}{_SPACE}points".replace("-", _MINUS)


def si(value: float | None, unit: str = "") -> str:
    """Print three significant digits with an SI prefix.

    >>> si(0.0004118, "J"), si(2_656_000), si(999_900.0), si(0, "J")
    ('412\\xa0µJ', '2.66\\xa0M', '1\\xa0M', '0\\xa0J')
    """
    if value is None:
        return NOT_YET
    value = float(f"{value:.3g}")  # rounds before the prefix is chosen, so 999.9 k becomes 1 M
    exponent = 3 * math.floor(math.log10(abs(value)) / 3 + 1e-9) if value else 0
    exponent = min(max(exponent, min(_PREFIXES)), max(_PREFIXES))
    return f"{value / 10**exponent:.3g}{_SPACE}{_PREFIXES[exponent]}{unit}".rstrip(_SPACE)


def micro(value: float | None, unit: str) -> str:
    """Print a quantity that the record keeps in millionths, such as µJ or µs.

    >>> micro(1530.0, "s")
    '1.53\\xa0ms'
    """
    return si(None if value is None else value * 1e-6, unit)


def times(value: float | None) -> str:
    """Print a factor.

    >>> times(6.1234).encode(), times(158.2).encode()
    (b'6.12\\xc3\\x97', b'158\\xc3\\x97')
    """
    return NOT_YET if value is None else f"{float(f'{value:.3g}'):,g}{TIMES}"


def plain(value: Any) -> str:
    """Print any JSON scalar or list as a person would write it.

    >>> plain(0.30000000000000004), plain(12345), plain(["mcu", "npu"]), plain(None), plain(True)
    ('0.3', '12,345', 'mcu, npu', 'not yet', 'yes')
    """
    if value is None:
        return NOT_YET
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {plain(item)}" for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(plain, value))
    return str(value)


def moment(text: str | None) -> str:
    """Print an ISO time to the minute.

    >>> moment("2026-03-14T09:26:53+00:00"), moment(None)
    ('2026-03-14 09:26 UTC', 'not yet')
    """
    try:
        return datetime.fromisoformat(text or "").strftime("%Y-%m-%d %H:%M %Z").strip()
    except ValueError:
        return text or NOT_YET


def kinds(record: Record) -> tuple[str, ...]:
    """Return the kinds of input in a fixed order: ``positive`` first, then each kind of negative."""
    found = dict.fromkeys(at(record, "data", "stream", default={}))
    for stage in at(record, "stages", default=()):
        found |= dict.fromkeys(at(stage, "reach", default={}))
    for gate in at(record, "gates", default=()):
        found |= dict.fromkeys(at(gate, "early_stop", default={}))
    return ("positive", *(kind for kind in found if kind not in {"positive", "stream"}))


def quality_word(record: Record) -> str:
    """Return what the run's goal calls quality.

    >>> quality_word({}), quality_word({"goal": {"quality": "fidelity"}})
    ('accuracy', 'fidelity')
    """
    word: str = at(record, "goal", "quality", default="accuracy")
    return word


def labelled(record: Record) -> bool:
    """Say whether there are positives and negatives to speak of."""
    return bool(at(record, "goal", "name", default="classification") == "classification")


def stops(record: Record) -> bool:
    """Say whether a gate of the plan can stop a window, and is not only in a layer; until a plan is picked, yes.

    Where nothing is labelled, windows leave for another path, and none is stopped.

    >>> gate = {"site": "conv1", "kind": "pg"}
    >>> stops({"plan": {"gates": [gate]}, "layers": [gate]}), stops({"plan": {"gates": [gate]}}), stops({})
    (False, True, True)
    """
    gates = at(record, "plan", "gates")
    return labelled(record) and (gates is None or any(not in_layer(record, gate) for gate in gates))


def in_layer(record: Record, gate: Mapping[str, Any]) -> bool:
    """Say whether a gate of the plan stands in the place of a layer."""
    who = (at(gate, "site"), at(gate, "kind"))
    return any((at(row, "site"), at(row, "kind")) == who for row in at(record, "layers", default=()))


def kind_label(kind: str) -> str:
    """Return the words for a kind of input: ``_silence_`` is written for folders, not for readers.

    >>> kind_label("_silence_"), kind_label("positive")
    ('silence', 'positive')
    """
    return kind.strip("_") or kind


def cores(record: Record) -> tuple[str, ...]:
    """Return every core that the record names, in order of rising cost where the plan tells it."""
    named = [
        *at(record, "energy", "by_core", default={}),
        *at(record, "energy", "ungated_by_core", default={}),
        *at(record, "plan", "cores", default=()),
        *(core for stage in at(record, "stages", default=()) if (core := at(stage, "core"))),
        *(core for part in ("frontend", "reference") if (core := at(record, part, "core"))),
    ]
    return tuple(dict.fromkeys(named))
