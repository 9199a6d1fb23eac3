"""The light path beside the heavy one, as the page tells of it: who took which, and what that was worth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gatesearch.report.style import GATED, INK, MUTED, UNGATED, figure
from gatesearch.report.values import NOT_YET, Record, at, micro, percent, quality_word, si, times

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PUBLISHED = "published, for SoundStream and other data: 12.3\u00d7 in computation, 20.9\u00d7 in size"


def ways(record: Record) -> list[dict[str, Any]]:
    """Return the ways to route windows: name, light share, quality, the switch's first; empty where there is one."""
    return list(at(record, "paths", default=()))


def table(record: Record) -> list[tuple[str, str, str]]:
    """Return a row for each way: name, light share, quality, as text."""
    return [
        (
            at(way, "name", default="?"),
            "no light path" if at(way, "light_share") is None else percent(way["light_share"]),
            percent(at(way, "quality")),
        )
        for way in ways(record)
    ]


def tiles(record: Record) -> list[dict[str, Any]]:
    """Return the tiles of the first screen that tell of the light path."""
    if not ways(record):
        return []
    best = at(record, "best")
    return [
        {
            "label": "on the light path",
            "value": percent(at(best, "light_share")),
            "note": f"of test windows; drawn by lot, as many have {quality_word(record)} "
            f"{percent(at(best, 'quality_random'))}",
            "known": ["measured"],
        },
        {
            "label": "heavy over light",
            "value": times(at(best, "heavy_over_light_macs")),
            "note": f"in MACs; {times(at(best, 'heavy_over_light_params'))} in parameters ({PUBLISHED})",
            "known": ["measured"],
        },
    ]


def costs(record: Record) -> list[tuple[str, str, str, str]]:
    """Return label, light, heavy and shared part of what the paths cost, as text; shared is what lies before both."""
    best = at(record, "best")
    first: Record = next(iter(at(record, "stages", default=())), {})
    return [
        (
            "MACs a window",
            si(at(best, "light_macs")),
            si(at(best, "heavy_macs")),
            si(at(best, "shared_macs")),
        ),
        (
            "parameters",
            si(at(best, "light_params")),
            si(at(best, "heavy_params")),
            si(_less(best)),
        ),
        (
            "time of one run",
            micro(at(best, "light_latency_us"), "s"),
            micro(at(best, "heavy_latency_us"), "s"),
            micro(at(first, "latency_us"), "s"),
        ),
    ]


def leaving(stage: Any) -> str:
    """Return what leaves through a stage's exit, in words; empty where it has none.

    >>> leaving({"exit": {"reach": 0.7, "macs": 1000, "latency_us": 5.0}})
    '70.0\\xa0% of windows take the light path: 1\\xa0k MACs, 5\\xa0\u00b5s'
    """
    light = at(stage, "exit")
    if light is None:
        return ""
    cost = f"{si(at(light, 'macs'))} MACs, {micro(at(light, 'latency_us'), 's')}"
    return f"{percent(at(light, 'reach'))} of windows take the light path: {cost}"


def qualities(record: Record) -> Figure | None:
    """Draw the quality of each way to route windows."""
    found = [way for way in ways(record) if at(way, "quality") is not None][::-1]
    if not found:
        return None
    drawing = figure(height=0.55 + 0.36 * len(found))
    axes = drawing.subplots()
    colours = [GATED if at(way, "name") == ways(record)[0]["name"] else UNGATED for way in found]
    values = [100 * way["quality"] for way in found]
    labels = [_label(way) for way in found]
    bars = axes.barh(labels, values, 0.6, color=colours)
    axes.bar_label(bars, fmt="%.1f", padding=4, fontsize=8, color=INK)
    axes.margins(x=0.1)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(f"{quality_word(record)} (%)")
    return drawing


def by_class(record: Record) -> Figure | None:
    """Draw the share of each class that takes the light path: what the switch found without having been told."""
    shares = at(record, "best", "light_share_by_class", default={})
    if len(shares) < 2 or not ways(record):
        return None
    shown = sorted(shares.items(), key=lambda pair: pair[1])[-12:]
    drawing = figure(height=0.6 + 0.24 * len(shown))
    axes = drawing.subplots()
    axes.barh([name.strip("_") or name for name, _ in shown], [100 * share for _, share in shown], 0.6, color=MUTED)
    axes.set_xlim(0, 100)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("windows on the light path (%)")
    return drawing


def _label(way: Any) -> str:
    share = at(way, "light_share")
    return at(way, "name", default=NOT_YET) + ("" if share in (None, 0.0, 1.0) else f", {100 * share:.0f} % light")


def _less(best: Any) -> float | None:
    parts = [at(best, f"{part}_params") for part in ("resident", "light", "heavy")]
    return None if None in parts else parts[0] - parts[1] - parts[2]
