"""The section on the test stream: the picked plan beside other methods at equal false accepts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatesearch.report.fields import Record, read
from gatesearch.report.text import NOT_YET, format_percent, format_value

NAMES = {"picked": "best plan, gated", "ungated_windows": "ungated, every window"}


def build_table(record: Record) -> list[dict[str, str]]:
    """Return a row for the picked plan and one for each other method; empty where the goal is not detection."""
    stream = read(record, "stream")
    if stream is None:
        return []
    entries = {"picked": read(stream, "picked"), **read(stream, "rivals", default={})}
    return [_build_row(NAMES.get(name, name), figures) for name, figures in entries.items()]


def build_groups(record: Record) -> list[dict[str, str]]:
    """Return a row for each kind of background: misses and false accepts an hour of the picked plan there."""
    picked = read(record, "stream", "picked")
    misses = read(picked, "misses_by_background", default={})
    false_accepts = read(picked, "fa_per_hour_by_background", default={})
    return [
        {
            "kind": kind,
            "miss_rate": format_percent(read(misses, kind, "rate")) if kind in misses else "no event",
            "fa_per_hour": _format_rate(read(false_accepts, kind, "rate", default=0.0)),
        }
        for kind in sorted({*misses, *false_accepts})
    ]


def describe_stream(record: Record) -> str:
    """Return the sentence on the events and the length of the stream, and on the operating point.

    >>> stream = {"hours": 0.5, "events": 150, "hop_ms": 40.0, "operating_point": {"fa_per_hour_wanted": 6.0}}
    >>> describe_stream({"stream": stream})
    '150 events in 0.5 hours, a decision every 40 ms. Thresholds keep 6 false accepts an hour on the validation stream.'
    """
    stream = read(record, "stream", default={})
    wish = read(stream, "operating_point", "fa_per_hour_wanted")
    sentence = (
        f"{format_value(read(stream, 'events'))} events in {format_value(read(stream, 'hours'))} hours, a decision "
        f"every {format_value(read(stream, 'hop_ms'))} ms. Thresholds keep {format_value(wish)} false accepts an hour "
        "on the validation stream."
    )
    doubt = read(stream, "doubt")
    return sentence if doubt is None else f"{sentence} Doubt: {doubt}."


def _format_rate(value: float | None) -> str:
    return NOT_YET if value is None else f"{value:.3g}"


def _build_row(name: str, figures: Mapping[str, Any]) -> dict[str, str]:
    latency = read(figures, "latency_p50_ms")
    power = read(figures, "mean_power_mw")
    return {
        "name": name,
        "miss_rate": _with_interval(figures, "miss_rate", "miss_interval", percent=True),
        "fa_per_hour": _with_interval(figures, "fa_per_hour", "fa_per_hour_interval", percent=False),
        "latency": NOT_YET if latency is None else f"{latency:.0f} ms",
        "power": NOT_YET if power is None else f"{power:.3g} mW",
    }


def _with_interval(figures: Mapping[str, Any], key: str, interval: str, *, percent: bool) -> str:
    value, bounds = read(figures, key), read(figures, interval, default=())
    write = format_percent if percent else _format_rate
    if value is None or len(bounds) != 2:
        return NOT_YET
    return f"{write(value)} ({write(bounds[0])} to {write(bounds[1])})"
