"""Formats numbers as text for people: SI prefixes, percentages, time spans."""

from __future__ import annotations

import math

MISSING = "-"
"""Text that stands for a missing number."""

_PREFIXES = {-12: "p", -9: "n", -6: "u", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}


def format_si(value: float | None, unit: str, digits: int = 3) -> str:
    """Return a number with an SI prefix; ``value`` is in the unit without a prefix, and None is shown as ``-``.

    >>> format_si(12.3e-6, "J"), format_si(0.99996, "s"), format_si(0, "W"), format_si(None, "J")
    ('12.3 uJ', '1 s', '0 W', '-')
    >>> format_si(2_500_000, "MAC", 2)
    '2.5 MMAC'
    """
    if value is None:
        return MISSING
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {unit}"
    rounded = float(f"{value:.{digits - 1}e}")  # rounding comes first, so that 0.99996 s is shown as 1 s
    power = 3 * math.floor(math.log10(abs(rounded)) / 3 + 1e-12)
    power = min(max(power, min(_PREFIXES)), max(_PREFIXES))
    return f"{rounded / 10**power:.{digits}g} {_PREFIXES[power]}{unit}"


def format_percent(share: float | None, digits: int = 1) -> str:
    """Return a share as a percentage; None is shown as ``-``.

    >>> format_percent(0.9951), format_percent(None)
    ('99.5 %', '-')
    """
    return MISSING if share is None else f"{100 * share:.{digits}f} %"


def format_duration(seconds: float) -> str:
    """Return a time span in the form of a clock: seconds, minutes:seconds or hours:minutes:seconds.

    >>> format_duration(7.4), format_duration(83), format_duration(3725)
    ('7 s', '1:23', '1:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}" if minutes else f"{rest} s"


def format_cell(value: object) -> str:
    """Return a value as a cell of a table: floats with four digits, None as ``-``.

    >>> format_cell(0.123456), format_cell(3), format_cell(None)
    ('0.1235', '3', '-')
    """
    if value is None:
        return MISSING
    return f"{value:.4g}" if isinstance(value, float) else str(value)
