"""Plots the fidelity of a codec against the share of windows that take its light path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gatesearch.report.style import GATED, INK, MUTED, figure, legend_below, settings
from results.dsl.measure import Outcome


def draw(outcomes: Mapping[str, Mapping[int, Outcome]], path: Path) -> None:
    """Write a PNG with a panel for each data set (first seed).

    A panel has a curve for each way to choose the windows that take the light path.
    """
    with settings():
        drawing = figure(3.0 * max(1, len(outcomes)) + 0.4, 3.0)
        panels = drawing.subplots(1, max(1, len(outcomes)), squeeze=False)[0]
        for axes, (name, by_seed) in zip(panels, outcomes.items(), strict=False):
            outcome = next(iter(by_seed.values()))
            curve = outcome["curve"]
            if curve:
                axes.plot(curve["share"], curve["known"], ":", color=MUTED, label="best possible choice")
                axes.plot(curve["share"], curve["switch"], "-", color=GATED, label="switch")
                axes.plot(curve["share"], curve["lot"], "--", color=INK, label="drawn at random")
                best = outcome["best"]
                axes.plot(best["light_share"], best["quality"], "o", color=GATED, markeredgecolor=INK, label="in use")
            axes.set_title(name)
            axes.set_xlabel("light share")
        panels[0].set_ylabel("fidelity")
        legend_below(drawing, panels[0], columns=4 if len(outcomes) > 1 else 2)
        drawing.savefig(path, format="png", dpi=200)
