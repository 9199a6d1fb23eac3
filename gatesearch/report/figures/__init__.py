"""Draws the figures of a run's record: all as SVG for the report, the front and the DET curves also as PNG."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gatesearch.report.fields import Record, list_kinds, quality_name, read
from gatesearch.report.figures import (
    det,
    energy,
    front,
    gates,
    layers,
    openings,
    paths,
    search,
    sensitivity,
    timeline,
)
from gatesearch.report.marks import place_marks
from gatesearch.report.style import inline_svg, kind_colours, settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _draw_training_loss(record: Record) -> Figure | None:
    return gates.draw_learning(record, "train_loss", "training loss", in_percent=False)


def _draw_validation_quality(record: Record) -> Figure | None:
    label = f"validation {quality_name(record)} (%)"
    return gates.draw_learning(record, "validation_accuracy", label, in_percent=True)


# Name of a figure in the report, its description for screen readers, and the function that draws it.
_FIGURES: dict[str, tuple[str, Callable[[Record], Figure | None]]] = {
    "det": ("Miss rate over false accepts an hour", det.draw_det),
    "detail": ("A minute of the test stream", timeline.draw_detail),
    "whole": ("The whole test stream", timeline.draw_whole),
    "power": ("Mean power by part over the test stream", timeline.draw_power),
    "openings": ("Share of time open and openings an hour by gate", openings.draw_openings),
    "stops": ("Share of hops stopped by background", openings.draw_stops),
    "latencies": ("Time from an event to its detection", det.draw_latencies),
    "front": ("Validation quality against expected energy", front.draw_front),
    "paths": ("Quality of each way to route windows", paths.draw_qualities),
    "light-by-class": ("Share of each class on the light path", paths.draw_classes),
    "reach": ("Share of windows that reaches each stage", gates.draw_reach),
    "layers": ("Multiply-accumulates left in gated layers", layers.draw_layers),
    "energy-term": ("Energy per window by term", energy.draw_terms),
    "energy-core": ("Energy per window by core", energy.draw_cores),
    "loss": ("Training loss", _draw_training_loss),
    "accuracy": ("Validation quality", _draw_validation_quality),
    "sensitivity": ("Gain as assumed constants move", sensitivity.draw_tornado),
    "streaming": ("Time per window in a stream", energy.draw_streaming),
    "states": ("Proposals by state", search.draw_states),
    "hypervolume": ("Hypervolume over trained trials", search.draw_hypervolume),
}


class Picture(NamedTuple):
    """A figure as an ``<svg>`` element, and its marks; see :func:`gatesearch.report.marks.place_marks`."""

    svg: str
    marks: list[dict[str, Any]]


def draw_all(record: Record) -> dict[str, str | None]:
    """Return every figure by name as an ``<svg>`` element; None where the record has nothing to draw yet."""
    return {name: picture and picture.svg for name, picture in draw_pictures(record).items()}


def draw_pictures(record: Record) -> dict[str, Picture | None]:
    """Return every figure by name with its marks; None where the record has nothing to draw yet.

    Each gate has a figure of its own: ``roc-0`` shows the first gate in the record, ``roc-1`` the second gate.
    """
    pictures: dict[str, Picture | None] = {}

    def add(name: str, label: str, drawing: Figure | None) -> None:
        # The drawing is laid out when it is written. So its marks are placed afterwards.
        pictures[name] = Picture(inline_svg(drawing, name, label), place_marks(drawing)) if drawing else None

    with settings():
        for name, (label, draw) in _FIGURES.items():
            add(name, label, draw(record))
        colours = kind_colours(list_kinds(record))
        for index, gate in enumerate(read(record, "gates", default=())):
            label = f"Negatives stopped against gate recall at {read(gate, 'site', default='?')}"
            add(f"roc-{index}", label, gates.draw_roc(gate, colours))
    return pictures


def write_front_png(record: Record, path: str | Path) -> Path:
    """Write the front as a PNG, 1440 pixels wide.

    Raises:
        ValueError: no trial of the record has been trained.
    """
    with settings():
        drawing = front.draw_front(record, width=7.2, height=4.6)
        return _write_png(drawing, path, "the record has no trained trial, so there is no front to draw")


def write_det_png(record: Record, path: str | Path) -> Path:
    """Write the DET curves of a run on a stream as a PNG, 1120 pixels wide.

    Raises:
        ValueError: the record has no stream.
    """
    with settings():
        return _write_png(det.draw_det(record), path, "the record has no stream, so there is no DET curve to draw")


def _write_png(drawing: Figure | None, path: str | Path, reason: str) -> Path:
    """Write a figure as a PNG; if ``drawing`` is None, raise a ValueError with the message ``reason``."""
    if drawing is None:
        raise ValueError(reason)
    drawing.savefig(path, format="png", dpi=200)
    return Path(path)
