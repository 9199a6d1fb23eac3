"""Figures of the light and the heavy path: quality of each way to route windows, and classes by path.

A gate with a switch sends easy windows to a small decoder, the light path, and the others through the rest of the
network, the heavy path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatesearch.report.fields import Record, quality_name, read
from gatesearch.report.sections.paths import list_routings, name_routing
from gatesearch.report.style import GATED, INK, MUTED, UNGATED, clear_row_axis, figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_CLASSES = 12


def draw_qualities(record: Record) -> Figure | None:
    """Draw the quality of each way to route windows."""
    routings = [routing for routing in list_routings(record) if read(routing, "quality") is not None]
    routings.reverse()  # a bar chart draws its first row at the bottom
    if not routings:
        return None
    drawing = figure(height=0.55 + 0.36 * len(routings))
    axes = drawing.subplots()
    in_use = list_routings(record)[0]["name"]
    bars = axes.barh(
        [name_routing(routing) for routing in routings],
        [100 * routing["quality"] for routing in routings],
        0.6,
        color=[GATED if read(routing, "name") == in_use else UNGATED for routing in routings],
    )
    axes.bar_label(bars, fmt="%.1f", padding=4, fontsize=8, color=INK)
    axes.margins(x=0.1)
    clear_row_axis(axes)
    axes.set_xlabel(f"{quality_name(record)} (%)")
    return drawing


def draw_classes(record: Record) -> Figure | None:
    """Draw the share of each class that takes the light path; the switch is trained without class labels."""
    shares = read(record, "best", "light_share_by_class", default={})
    if len(shares) < 2 or not list_routings(record):
        return None
    largest = sorted(shares.items(), key=lambda pair: pair[1])[-_MAX_CLASSES:]
    drawing = figure(height=0.6 + 0.24 * len(largest))
    axes = drawing.subplots()
    names = [name.strip("_") or name for name, _ in largest]
    axes.barh(names, [100 * share for _, share in largest], 0.6, color=MUTED)
    axes.set_xlim(0, 100)
    clear_row_axis(axes)
    axes.set_xlabel("windows on the light path (%)")
    return drawing
