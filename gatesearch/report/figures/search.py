"""Figures of the search: how many trials ended in each state, and how the front grew."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from gatesearch.report.fields import Record, read
from gatesearch.report.style import GATED, INK, MUTED, PICKED, clear_row_axis, figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STATE_COLOURS = {
    "complete": GATED,
    "pruned": "#7fb8a8",
    "priced_out": "#9fb3c3",
    "duplicate": "#cfd6dc",
    "failed": PICKED,
}
_STATE_LABELS = {"pruned": "stopped early"}  # any other state is its own label


def draw_states(record: Record) -> Figure | None:
    """Draw how many proposals ended in each state."""
    from matplotlib.ticker import MaxNLocator

    counts = Counter(read(trial, "state", default="complete") for trial in read(record, "trials", default=()))
    if not counts:
        return None
    states = [state for state in _STATE_COLOURS if state in counts]
    states += [state for state in counts if state not in _STATE_COLOURS]
    states.reverse()  # axes count from the bottom
    drawing = figure(height=2.3)
    axes = drawing.subplots()
    bars = axes.barh(
        [_STATE_LABELS.get(state, state.replace("_", " ")) for state in states],
        [counts[state] for state in states],
        0.6,
        color=[_STATE_COLOURS.get(state, MUTED) for state in states],
    )
    axes.bar_label(bars, padding=4, fontsize=8, color=INK)
    axes.margins(x=0.12)
    clear_row_axis(axes)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlabel("proposed plans (count)")
    return drawing


def draw_hypervolume(record: Record) -> Figure | None:
    """Draw the dominated hypervolume over the trained trials."""
    from matplotlib.ticker import MaxNLocator

    values = [value for value in read(record, "hypervolume", default=()) if value is not None]
    if not values:
        return None
    drawing = figure(height=2.3)
    axes = drawing.subplots()
    axes.step(range(1, len(values) + 1), values, where="post", color=GATED)
    axes.plot(len(values), values[-1], "o", color=GATED, markersize=4)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.margins(y=0.12)
    axes.set_xlabel("trained trials")
    axes.set_ylabel("hypervolume")
    return drawing
