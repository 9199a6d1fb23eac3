"""Where the energy goes and how long a window takes, gated beside ungated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gatesearch.report.style import (
    GATED,
    INK,
    MUTED,
    PAPER,
    TERMS,
    UNGATED,
    core_colours,
    figure,
    legend_below,
)
from gatesearch.report.values import Record, at, cores, micro

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LIGHT = {"#b4bcc4", "#dfe3e7", "#e69f00", "#56b4e9", "#7fbfa9"}  # these carry dark text


def by_term(record: Record) -> Figure | None:
    """Draw the expected energy of a window split by what it is spent on."""
    gated = at(record, "energy", "by_term")
    terms = [*(t for t in TERMS if t in (gated or {})), *(t for t in gated or {} if t not in TERMS)]
    colours = {term: TERMS.get(term, MUTED) for term in terms}
    return _stacked(record, gated, at(record, "energy", "ungated_by_term"), colours)


def by_core(record: Record) -> Figure | None:
    """Draw the expected energy of a window split by the core that spends it."""
    gated = at(record, "energy", "by_core")
    return _stacked(record, gated, at(record, "energy", "ungated_by_core"), core_colours(cores(record)), height=2.22)


def streaming(record: Record) -> Figure | None:
    """Draw the time a window takes in a stream, gated and ungated."""
    gated, ungated = at(record, "streaming", "gated_us"), at(record, "streaming", "ungated_us")
    if gated is None or ungated is None:
        return None
    scale, unit = (1e-3, "ms") if max(gated, ungated) >= 1000 else (1.0, "µs")
    drawing = figure(height=1.7)
    axes = drawing.subplots()
    bars = axes.barh(["gated", "ungated"], [gated * scale, ungated * scale], 0.55, color=[GATED, UNGATED])
    axes.bar_label(bars, fmt="{:.3g} " + unit, padding=4, fontsize=8, color=INK)
    axes.margins(x=0.16)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(f"mean time per window ({unit})")
    return drawing


def _stacked(
    record: Record,
    gated: Mapping[str, float] | None,
    ungated: Mapping[str, float] | None,
    colours: Mapping[str, str],
    height: float = 2.4,  # a second row of legend needs the difference
) -> Figure | None:
    if not gated or not any(gated.values()):
        return None
    rows: list[tuple[str, Mapping[str, float]]] = [("gated", gated)]
    if ungated:
        rows.append(("ungated", ungated))
    elif total := at(record, "energy", "ungated_total_uj"):
        rows.append(("ungated", {"total, not split": total}))
        colours = {**colours, "total, not split": UNGATED}
    longest = max(sum(value or 0 for value in parts.values()) for _, parts in rows)
    drawing = figure(height=height)
    axes = drawing.subplots()
    reached = dict.fromkeys((name for name, _ in rows), 0.0)
    for part, colour in colours.items():
        widths = [at(parts, part, default=0.0) for _, parts in rows]
        if not any(widths):
            continue
        bars = axes.barh(
            list(reached),
            widths,
            0.55,
            left=list(reached.values()),
            color=colour,
            edgecolor=PAPER,
            linewidth=0.5,
            label=part,
        )
        # A number only where it fits inside its segment.
        texts = [f"{float(f'{width:.3g}'):,g}" if width > 0.09 * longest else "" for width in widths]
        ink = INK if colour in _LIGHT else PAPER
        axes.bar_label(bars, texts, label_type="center", fontsize=7.5, color=ink)
        reached = {name: left + width for (name, left), width in zip(reached.items(), widths, strict=True)}
    for place, total in enumerate(reached.values()):
        axes.annotate(
            micro(total, "J"),
            (total, place),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            weight="bold",
        )
    axes.set_xlim(0, 1.18 * longest)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("expected energy per window (µJ)")
    legend_below(drawing, axes, columns=4)
    return drawing
