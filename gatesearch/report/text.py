"""Formats the figures of a record for people: shares, factors, SI prefixes, and "not yet" for a missing value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from gatesearch._lib import format

NOT_YET = "not yet"
TIMES_SIGN = "\u00d7"
_MINUS_SIGN = "\u2212"
_SPACE = "\u00a0"  # does not break: a number and its unit stay on one line


def format_percent(value: float | None, digits: int = 1) -> str:
    """Return a share as text, in percent.

    >>> format_percent(0.9434), format_percent(None)
    ('94.3\\xa0%', 'not yet')
    """
    return NOT_YET if value is None else format.format_percent(value, digits).replace(" ", _SPACE)


def format_points(value: float | None) -> str:
    """Return a difference of two shares as text, in percentage points with a sign.

    >>> ascii(format_points(-0.0041))
    "'\\\\u22120.4\\\\xa0points'"
    """
    return NOT_YET if value is None else f"{100 * value:+.1f}{_SPACE}points".replace("-", _MINUS_SIGN)


def format_si(value: float | None, unit: str = "") -> str:
    """Return a value as text, with three significant digits and an SI prefix.

    >>> format_si(0.0004118, "J"), format_si(2_656_000), format_si(999_900.0), format_si(0, "J")
    ('412\\xa0µJ', '2.66\\xa0M', '1\\xa0M', '0\\xa0J')
    """
    if value is None:
        return NOT_YET
    number, _, prefixed_unit = format.format_si(value, unit).partition(" ")
    if prefixed_unit.startswith("u"):
        prefixed_unit = f"µ{prefixed_unit[1:]}"
    return f"{number}{_SPACE}{prefixed_unit}".rstrip(_SPACE)


def format_micro(value: float | None, unit: str) -> str:
    """Return a quantity as text that the record holds in millionths, such as µJ or µs.

    >>> format_micro(1530.0, "s")
    '1.53\\xa0ms'
    """
    return format_si(None if value is None else value * 1e-6, unit)


def format_factor(value: float | None) -> str:
    """Return a factor as text, with three significant digits.

    >>> format_factor(6.1234).encode(), format_factor(158.2).encode()
    (b'6.12\\xc3\\x97', b'158\\xc3\\x97')
    """
    return NOT_YET if value is None else f"{float(f'{value:.3g}'):,g}{TIMES_SIGN}"


def format_value(value: Any) -> str:
    """Return any JSON value as text, as a person would write it.

    >>> format_value(0.30000000000000004), format_value(12345), format_value(["mcu", "npu"])
    ('0.3', '12,345', 'mcu, npu')
    >>> format_value(None), format_value(True)
    ('not yet', 'yes')
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
        return ", ".join(f"{key} {format_value(item)}" for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(format_value, value))
    return str(value)


def format_moment(text: str | None) -> str:
    """Return an ISO time as text, to the minute.

    >>> format_moment("2026-03-14T09:26:53+00:00"), format_moment(None)
    ('2026-03-14 09:26 UTC', 'not yet')
    """
    try:
        return datetime.fromisoformat(text or "").strftime("%Y-%m-%d %H:%M %Z").strip()
    except ValueError:
        return text or NOT_YET


def format_kind(kind: str) -> str:
    """Return the name of a kind of input without the underscores of folder names such as ``_silence_``.

    >>> format_kind("_silence_"), format_kind("positive")
    ('silence', 'positive')
    """
    return kind.strip("_") or kind
