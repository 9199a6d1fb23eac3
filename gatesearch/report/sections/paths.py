"""The report's section on the light and the heavy path of a plan: their shares of windows, quality and cost.

A plan with an exit has two paths. The light path is a small decoder for easy windows; the heavy path is the rest of the
network, for all other windows. A switch sends each window along one of them.
"""

from __future__ import annotations

from typing import Any

from gatesearch.report.fields import Record, quality_name, read
from gatesearch.report.text import NOT_YET, format_factor, format_micro, format_percent, format_si

PUBLISHED = "published for SoundStream, with other data: 12.3\u00d7 in computation, 20.9\u00d7 in size"


def list_routings(record: Record) -> list[dict[str, Any]]:
    """Return the ways to route windows, each with name, light share and quality; empty for a plan with one path.

    The light share is the share of windows on the light path. In the first way, the switch routes windows, as on the
    device. The other ways are for comparison.
    """
    return list(read(record, "paths", default=()))


def name_routing(routing: Any) -> str:
    """Return the name of a way to route windows, with its light share if some windows take each path."""
    name: str = read(routing, "name", default=NOT_YET)
    share = read(routing, "light_share")
    return name if share in (None, 0.0, 1.0) else f"{name}, {100 * share:.0f} % light"


def build_table(record: Record) -> list[tuple[str, str, str]]:
    """Return a row for each way to route windows: name, light share, quality, as text."""
    rows = []
    for routing in list_routings(record):
        share = read(routing, "light_share")
        share_text = "no light path" if share is None else format_percent(share)
        rows.append((read(routing, "name", default="?"), share_text, format_percent(read(routing, "quality"))))
    return rows


def build_tiles(record: Record) -> list[dict[str, Any]]:
    """Return the report's tiles, each with one figure of the light path; empty for a plan with one path."""
    if not list_routings(record):
        return []
    best = read(record, "best")
    return [
        {
            "label": "on the light path",
            "value": format_percent(read(best, "light_share")),
            "note": f"of test windows; the same share routed at random has {quality_name(record)} "
            f"{format_percent(read(best, 'quality_random'))}",
            "provenance": ["measured"],
        },
        {
            "label": "heavy over light",
            "value": format_factor(read(best, "heavy_over_light_macs")),
            "note": f"in MACs; {format_factor(read(best, 'heavy_over_light_params'))} in parameters ({PUBLISHED})",
            "provenance": ["measured"],
        },
    ]


def build_costs(record: Record) -> list[tuple[str, str, str, str]]:
    """Return the rows of the cost table as text: label, light path, heavy path, and what runs before both."""
    best = read(record, "best")
    stages = read(record, "stages", default=())
    first_stage: Record = stages[0] if stages else {}
    return [
        (
            "MACs a window",
            format_si(read(best, "light_macs")),
            format_si(read(best, "heavy_macs")),
            format_si(read(best, "shared_macs")),
        ),
        (
            "parameters",
            format_si(read(best, "light_params")),
            format_si(read(best, "heavy_params")),
            format_si(_count_shared_params(best)),
        ),
        (
            "time of one run",
            format_micro(read(best, "light_latency_us"), "s"),
            format_micro(read(best, "heavy_latency_us"), "s"),
            format_micro(read(first_stage, "latency_us"), "s"),
        ),
    ]


def describe_light_path(stage: Any) -> str:
    """Return a sentence on the windows that leave a stage by its exit; empty for a stage without an exit.

    >>> describe_light_path({"exit": {"reach": 0.7, "macs": 1000, "latency_us": 5.0}})
    '70.0\\xa0% of windows take the light path: 1\\xa0k MACs, 5\\xa0\u00b5s'
    """
    light = read(stage, "exit")
    if light is None:
        return ""
    cost = f"{format_si(read(light, 'macs'))} MACs, {format_micro(read(light, 'latency_us'), 's')}"
    return f"{format_percent(read(light, 'reach'))} of windows take the light path: {cost}"


def _count_shared_params(best: Any) -> float | None:
    resident, light, heavy = (read(best, f"{part}_params") for part in ("resident", "light", "heavy"))
    if resident is None or light is None or heavy is None:
        return None
    return float(resident - light - heavy)
