"""Figures of the wake-word detector on a real part, beside the streaming rule of MLPerf Tiny.

The rule allows 8 misses of 50 words and 8 false accepts in 1,200 s (MLPerf Tiny v1.3, streaming wake word). That is a
miss rate of 16 %, and 24 false accepts an hour.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from results.streams.measure import Outcome

PART_TARGETS: Mapping[tuple[str, str], str] = {
    ("stm32u385", "gated: mean power"): "<= 1.0",
    ("stm32u385", "gated: misses"): "<= 0.16",
    ("stm32u385", "gated: false accepts an hour"): "<= 24",
}


def part_figures(outcome: Outcome) -> Iterator[tuple[str, str, str, float]]:
    """Yield name, unit, provenance and value of each figure of a run on a real part."""
    picked, rivals = outcome["stream"]["picked"], outcome["stream"]["rivals"]
    yield "gated: misses", "share", "measured", picked["miss_rate"]
    yield "gated: false accepts an hour", "1/h", "measured", picked["fa_per_hour"]
    yield "gated: mean power", "mW", "modelled", picked["mean_power_mw"]
    [steady] = [part for part in picked["parts"] if part["name"] == "idle and sensor"]
    yield "sensor and listening floor: mean power", "mW", "modelled", steady["power_mw"]
    yield "perfect gates at the picked sites: mean power", "mW", "modelled", picked["perfect_gates"]["mean_power_mw"]
    for name, title in (("ungated_hops", "by hops"), ("ungated_windows", "by whole windows")):
        if name in rivals:
            yield f"ungated, {title}: mean power", "mW", "modelled", rivals[name]["mean_power_mw"]
