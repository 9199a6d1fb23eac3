"""Says before all other results what makes a result doubtful or useless, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gatesearch._lib.format import format_percent, format_si

LEVEL_GATE = "level_gate"


def list_headlines(verdict: str | None, stream: Mapping[str, Any] | None) -> list[str]:
    """Return the lines with which output and report begin; empty if there is nothing to say.

    Args:
        verdict: the line that says in what the bundle is worse than the ungated program; None if in nothing.
        stream: the entry ``stream`` of summary.json; None for a goal without streams.

    >>> level = {"mean_power_mw": 0.9, "miss_rate": 0.1, "fa_per_hour": 2.0}
    >>> stream = {"picked": {**level, "mean_power_mw": 1.0}, "rivals": {"level_gate": level}}
    >>> print(list_headlines(None, stream)[0])
    the picked plan loses to a level gate in front of the ungated network: 1 mW against 900 uW, misses 10.0 % against \
10.0 %, false accepts 2 against 2 an hour; take the level gate, or add kind level to space.kinds
    """
    return [*_compare_with_level_gate(stream or {}), *_doubt_test(stream or {}), *_advise_on_files(verdict)]


def _compare_with_level_gate(stream: Mapping[str, Any]) -> Iterator[str]:
    """Say that a level gate is at least as good as the picked plan in power, misses and false accepts."""
    picked, level = stream.get("picked"), stream.get("rivals", {}).get(LEVEL_GATE)
    if not picked or not level or picked.get("signal_gate") is not None:
        return
    keys = ("mean_power_mw", "miss_rate", "fa_per_hour")
    if any(picked.get(key) is None or level.get(key) is None or level[key] > picked[key] for key in keys):
        return
    power, misses, accepts = ([figures[key] for figures in (picked, level)] for key in keys)
    yield (
        "the picked plan loses to a level gate in front of the ungated network: "
        f"{' against '.join(format_si(1e-3 * value, 'W') for value in power)}, "
        f"misses {' against '.join(format_percent(value) for value in misses)}, "
        f"false accepts {' against '.join(f'{value:.3g}' for value in accepts)} an hour; "
        "take the level gate, or add kind level to space.kinds"
    )


def _doubt_test(stream: Mapping[str, Any]) -> Iterator[str]:
    """Say that the test stream is too short for the claim."""
    if (doubt := stream.get("doubt")) is not None:
        yield f"the test stream is too short: {doubt}; lengthen it (data.hours), or claim more (stream.fa_per_hour)"


def _advise_on_files(verdict: str | None) -> Iterator[str]:
    if verdict is not None:
        yield f"{verdict}; ship the ungated program, or bound the price (constraints.latency_ms, pick.objective)"
