"""Plots predicted against measured latencies of models with gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gatesearch.report import style
from results.latency import models

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#6b7280")


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write a PNG with a dot for each model, coloured by its backbone."""
    with style.settings():
        figure = style.figure(6.4, 5.2)
        axes = figure.subplots()
        times = [row[key] for row in rows for key in ("measured_us", "predicted_us")]
        ends = [0.8 * min(times), 1.25 * max(times)]
        axes.fill_between(
            ends, [0.9 * e for e in ends], [1.1 * e for e in ends], color=style.GRID, label="within 10 %", zorder=0
        )
        axes.plot(ends, ends, color=style.MUTED, linewidth=0.8, zorder=1)
        for name, colour in zip(models.BACKBONES, COLOURS, strict=True):
            own = [row for row in rows if row["backbone"] == name]
            if own:
                measured, predicted = ([row[key] for row in own] for key in ("measured_us", "predicted_us"))
                axes.scatter(measured, predicted, s=18, color=colour, label=name, zorder=2)
        axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:g}")
        axes.set_xlabel("measured, microseconds")
        axes.set_ylabel("predicted, microseconds")
        axes.set_title("Held-out gated models, end to end")
        axes.legend()
        figure.savefig(path, format="png", dpi=150)
