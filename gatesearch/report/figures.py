"""All figures of a record, as SVG for the report, and the front as a PNG for a README."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from gatesearch.report import (
    figures_energy,
    figures_gates,
    figures_layers,
    figures_search,
    figures_sensitivity,
    paths_view,
)
from gatesearch.report.style import inline_svg, kind_colours, settings
from gatesearch.report.values import Record, at, kinds, quality_word

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FIGURES: dict[str, tuple[str, Callable[[Record], Figure | None]]] = {
    "front": ("Validation quality against expected energy", figures_search.front),
    "paths": ("Quality of each way to route windows", paths_view.qualities),
    "light-by-class": ("Share of each class on the light path", paths_view.by_class),
    "reach": ("Share of windows that reaches each stage", figures_gates.reach),
    "layers": ("Multiply-accumulates left in gated layers", figures_layers.layers),
    "energy-term": ("Energy per window by term", figures_energy.by_term),
    "energy-core": ("Energy per window by core", figures_energy.by_core),
    "loss": (
        "Training loss",
        lambda r: figures_gates.learning(r, "train_loss", "training loss", share=False),
    ),
    "accuracy": (
        "Validation quality",
        lambda r: figures_gates.learning(r, "validation_accuracy", f"validation {quality_word(r)} (%)", share=True),
    ),
    "sensitivity": ("Gain as assumed constants move", figures_sensitivity.tornado),
    "streaming": ("Time per window in a stream", figures_energy.streaming),
    "states": ("Proposals by state", figures_search.states),
    "hypervolume": ("Hypervolume over trained trials", figures_search.hypervolume),
}


def draw(record: Record) -> dict[str, str | None]:
    """Return every figure by name as an ``<svg>`` element, or None where the record has nothing to draw yet.

    Gates add ``roc-0``, ``roc-1`` and so on, in the order of the record.
    """
    drawn: dict[str, str | None] = {}
    with settings():
        for name, (label, make) in _FIGURES.items():
            drawing = make(record)
            drawn[name] = inline_svg(drawing, name, label) if drawing else None
        colours = kind_colours(kinds(record))
        for place, gate in enumerate(at(record, "gates", default=())):
            drawing = figures_gates.roc(gate, colours)
            label = f"Negatives stopped against gate recall at {at(gate, 'site', default='?')}"
            drawn[f"roc-{place}"] = inline_svg(drawing, f"roc-{place}", label) if drawing else None
    return drawn


def front_png(record: Record, path: str | Path) -> Path:
    """Write the front as a PNG, 1440 pixels wide.

    Raises:
        ValueError: no trial of the record has been trained.
    """
    with settings():
        drawing = figures_search.front(record, width=7.2, height=4.6)
        if drawing is None:
            raise ValueError("the record has no trained trial, so there is no front to draw")
        drawing.savefig(path, format="png", dpi=200)
    return Path(path)
