"""The section on the test stream: the picked plan beside other methods at equal false accepts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gatesearch.report.fields import Record, read
from gatesearch.report.stream_names import NAMES, list_results
from gatesearch.report.text import NOT_YET, format_factor, format_percent, format_value

ARTICLES = {
    "ungated_hops": "the ungated network run hop by hop",
    "ungated_windows": "the ungated network run on every window",
    "hand_placed": "a hand-placed gate",
    "smaller_ungated": "a smaller ungated network",
}
MISS_ROUNDING = 1e-9
MIN_GAIN = 1.005  # a smaller gain would be printed as no gain


def build_table(record: Record) -> list[dict[str, str]]:
    """Return a row for the picked plan and one for each other method; empty if the goal is not detection."""
    return [_build_row(NAMES.get(name, name), figures) for name, figures in list_results(record)]


def build_parts(record: Record) -> list[dict[str, str]]:
    """Return a row for each part of the picked plan's chain: core, how it runs, how often it opens, mean power."""
    return [
        {
            "name": read(part, "name", default="?"),
            "core": read(part, "core", default="?"),
            "runs": "on demand" if read(part, "runs") == "demand" else "steady",
            "open_share": format_percent(read(part, "open_share")),
            "openings": f"{read(part, 'openings_per_hour', default=0.0):,.0f}",
            "power": _format_power(read(part, "power_mw")),
        }
        for part in read(record, "stream", "picked", "parts", default=())
    ]


def list_missing(record: Record) -> list[str]:
    """Return a line for each other method that the recipe names but that has no result."""
    missing = read(record, "stream", "missing_rivals", default={})
    return [f"{NAMES.get(name, name)}: {reason}" for name, reason in missing.items()]


def describe_power(record: Record) -> str | None:
    """Return the first sentence of the report: battery life and mean power of the best plan; None without a stream.

    >>> power = {"mean_power_mw": 1.1, "mean_power_interval_mw": [1.0, 1.375], "clocks": {"cpu": "48MHz"}}
    >>> days = {"battery_days": 20.0, "battery_days_interval": [16.0, 22.0]}
    >>> terms = {"power_by_term_mw": {"sense": 0.4, "idle": 0.45, "compute": 0.25}}
    >>> battery = {"mah": 220.0, "volts": 3.0, "efficiency": 0.8}
    >>> record = {"stream": {"battery": battery, "picked": {**power, **days, **terms}}}
    >>> print(describe_power(record).replace("\\xa0", " "))
    With the best plan, a battery of 220 mAh at 3 V lasts 20 days (16 to 22): the mean power is 1.1 mW (1 to 1.38 mW). \
Sensor, listening floor and sleep take 0.85 mW of it. Clock: cpu at 48MHz.
    """
    stream = read(record, "stream", default={})
    picked = read(stream, "picked", default={})
    power_mw = read(picked, "mean_power_mw")
    if power_mw is None:
        return None
    bounds = read(picked, "mean_power_interval_mw", default=())
    interval = ""
    if len(bounds) == 2 and bounds[0] < bounds[1]:
        interval = f" ({bounds[0]:.3g} to {_format_power(bounds[1])})"
    power = f"the mean power is {_format_power(power_mw)}{interval}"
    sentence = f"With the best plan, {power}."
    days, ends = read(picked, "battery_days"), read(picked, "battery_days_interval", default=())
    if days is not None:
        mah, volts = (format_value(read(stream, "battery", key)) for key in ("mah", "volts"))
        days_interval = f" ({ends[0]:.3g} to {ends[1]:.3g})" if interval and None not in ends else ""
        battery = f"a battery of {mah} mAh at {volts} V"
        sentence = f"With the best plan, {battery} lasts {days:.3g} days{days_interval}: {power}."
    terms = read(picked, "power_by_term_mw", default={})
    resting = sum(terms.get(term, 0.0) for term in ("sense", "idle"))
    if terms:
        sentence += f" Sensor, listening floor and sleep take {_format_power(resting)} of it."
    clocks = read(picked, "clocks", default={})
    if clocks:
        sentence += f" Clock: {', '.join(f'{core} at {point}' for core, point in clocks.items())}."
    return sentence


def describe_gain(record: Record) -> str | None:
    """Return the sentence on the gain over the strongest other method; None if there is none.

    >>> figures = {"miss_rate": 0.1, "mean_power_mw": 2.0}
    >>> rival = {"miss_rate": 0.08, "mean_power_mw": 3.0}
    >>> point = {"fa_per_hour_wanted": 2.0}
    >>> stream = {"picked": figures, "rivals": {"level_gate": rival}, "strongest_rival": "level_gate"}
    >>> sentence = describe_gain({"stream": stream | {"operating_point": point}})
    >>> print(ascii(sentence.replace("\\xa0", " ")).strip("'"))
    The gates take 1.5\\xd7 less mean power than the strongest rival, the level gate before the ungated network: 2 mW \
instead of 3 mW at 2 false accepts an hour. They miss 10.0 % of the events, the rival 8.0 %.
    """
    stream = read(record, "stream", default={})
    name = read(stream, "strongest_rival")
    rival, picked = read(stream, "rivals", name) if name else None, read(stream, "picked")
    own_mw, rival_mw = read(picked, "mean_power_mw"), read(rival, "mean_power_mw")
    if own_mw is None or rival_mw is None:
        return None
    wish = format_value(read(stream, "operating_point", "fa_per_hour_wanted"))
    misses = format_percent(read(picked, "miss_rate")), format_percent(read(rival, "miss_rate"))
    title = f"the {NAMES.get(name, name)}" if name not in ARTICLES else ARTICLES[name]
    bounds = "".join(_describe_broken_bounds(stream))
    if rival_mw < MIN_GAIN * own_mw:
        return (
            f"The gates gain nothing: the strongest rival, {title}, takes {_format_power(rival_mw)} in the mean, the "
            f"best plan {_format_power(own_mw)}, at {wish} false accepts an hour. The rival misses {misses[1]} of the "
            f"events, the best plan {misses[0]}.{bounds}"
        )
    return (
        f"The gates take {format_factor(rival_mw / own_mw)} less mean power than the strongest rival, {title}: "
        f"{_format_power(own_mw)} instead of {_format_power(rival_mw)} at {wish} false accepts an hour. They miss "
        f"{misses[0]} of the events, the rival {misses[1]}.{bounds}"
    )


def _describe_broken_bounds(stream: Record) -> Iterator[str]:
    """Yield a sentence if the plan, and one if every rival, misses more events on validation than the bound allows."""
    bound = read(stream, "operating_point", "max_miss_rate")
    misses = read(stream, "picked", "validation", "miss_rate")
    rivals = [read(figures, "validation", "miss_rate") for figures in read(stream, "rivals", default={}).values()]
    if _exceeds(misses, bound):
        yield (
            f" The best plan breaks the bound on misses: it misses {format_percent(misses)} of the events of the "
            f"validation stream, and the bound is {format_percent(bound)}."
        )
    if all(_exceeds(rate, bound) for rate in rivals):
        yield (
            f" No rival keeps the bound on misses, {format_percent(bound)} of the events of the validation stream; the "
            "strongest is then the rival with the least mean power."
        )


def _exceeds(miss_rate: float | None, bound: float | None) -> bool:
    return miss_rate is not None and bound is not None and miss_rate > bound + MISS_ROUNDING


def describe_signal(record: Record) -> str | None:
    """Return a sentence on the best plan's gate before the front end; None if the plan has no such gate.

    >>> gate = {"statistic": "spread", "threshold": 9830.4, "smoothing": 3, "hold": 5}
    >>> describe_signal({"stream": {"picked": {"signal_gate": gate}}})
    'The best plan has a level gate before the front end: spread of the level, mean of 3 hops, held open for 5 hops.'
    """
    gate = read(record, "stream", "picked", "signal_gate")
    if gate is None:
        return None
    statistic = {"spread": "spread of the level", "level": "level", "flatness": "flatness of the spectrum"}
    name, smoothing, hold = read(gate, "statistic"), read(gate, "smoothing"), read(gate, "hold")
    return (
        f"The best plan has a level gate before the front end: {statistic.get(name, name)}, "
        f"{'mean of ' + _count_hops(smoothing) if smoothing != 1 else 'each hop by itself'}, "
        f"{'held open for ' + _count_hops(hold) if hold else 'not held open'}."
    )


def describe_listening(record: Record) -> str | None:
    """Return the sentence on the CPU time of listening on the machine of the run; None where it was not measured.

    >>> times = {"gated_s": 0.5, "hops_s": 1.5, "short_hop_windows_s": 30.0}
    >>> sentence = describe_listening({"listening": times | {"hops_ratio": 3.0, "windows_ratio": 60.0}})
    >>> print(ascii(sentence.replace("\\xa0", " ")).strip("'"))
    On this machine, one hour of sound takes the best plan 0.5 s of CPU time, the ungated network 1.5 s by hops \
(3\\xd7) and 30 s by whole windows every 20 ms (60\\xd7).
    """
    listening = read(record, "listening")
    if not listening:
        return None
    gated_s, hops_s, windows_s = (read(listening, key) for key in ("gated_s", "hops_s", "short_hop_windows_s"))
    return (
        f"On this machine, one hour of sound takes the best plan {gated_s:.2g}\xa0s of CPU time, the ungated network "
        f"{hops_s:.2g}\xa0s by hops ({format_factor(read(listening, 'hops_ratio'))}) and {windows_s:.2g}\xa0s by whole "
        f"windows every 20\xa0ms ({format_factor(read(listening, 'windows_ratio'))})."
    )


def describe_perfect(record: Record) -> str | None:
    """Return the sentence on perfect gates, open only while a window holds an event; None for a plan without gates.

    >>> picked = {"mean_power_mw": 0.5, "perfect_gates": {"mean_power_mw": 0.4}, "plan": {"gates": [{"site": "stem"}]}}
    >>> print(describe_perfect({"stream": {"picked": picked}}).replace("\\xa0", " "))
    Perfect gates at the same sites, open only while a window holds an event, would take 0.4 mW.
    """
    picked = read(record, "stream", "picked", default={})
    bound_mw = read(picked, "perfect_gates", "mean_power_mw")
    if bound_mw is None or not (read(picked, "plan", "gates") or read(picked, "signal_gate")):
        return None
    return (
        "Perfect gates at the same sites, open only while a window holds an event, would take "
        f"{_format_power(bound_mw)}."
    )


def _count_hops(count: int | None) -> str:
    return NOT_YET if count is None else f"{count} hop{'s' if count != 1 else ''}"


def build_groups(record: Record) -> list[dict[str, str]]:
    """Return a row for each kind of background: misses and false accepts per hour of the picked plan."""
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
    >>> print(describe_stream({"stream": stream}).replace("ms. ", "ms.\\n"))
    150 events in 0.5 hours, a decision every 40 ms.
    Thresholds are set for 6 false accepts an hour on the validation stream.
    """
    stream = read(record, "stream", default={})
    wish = read(stream, "operating_point", "fa_per_hour_wanted")
    sentence = (
        f"{format_value(read(stream, 'events'))} events in {format_value(read(stream, 'hours'))} hours, a decision "
        f"every {format_value(read(stream, 'hop_ms'))} ms. Thresholds are set for {format_value(wish)} false accepts "
        "an hour on the validation stream."
    )
    doubt = read(stream, "doubt")
    return sentence if doubt is None else f"{sentence} Doubt: {doubt}."


def _format_power(milliwatts: float | None) -> str:
    return NOT_YET if milliwatts is None else f"{milliwatts:.3g}\xa0mW"


def _format_rate(value: float | None) -> str:
    return NOT_YET if value is None else f"{value:.3g}"


def _build_row(name: str, figures: Mapping[str, Any]) -> dict[str, str]:
    latency = read(figures, "latency_p50_ms")
    return {
        "name": name,
        "miss_rate": _with_interval(figures, "miss_rate", "miss_interval", percent=True),
        "fa_per_hour": _with_interval(figures, "fa_per_hour", "fa_per_hour_interval", percent=False),
        "latency": NOT_YET if latency is None else f"{latency:.0f} ms",
        "power": _format_power(read(figures, "mean_power_mw")),
    }


def _with_interval(figures: Mapping[str, Any], key: str, interval: str, *, percent: bool) -> str:
    value, bounds = read(figures, key), read(figures, interval, default=())
    write = format_percent if percent else _format_rate
    if value is None or len(bounds) != 2:
        return NOT_YET
    return f"{write(value)} ({write(bounds[0])} to {write(bounds[1])})"
