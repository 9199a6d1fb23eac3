"""Names and colours of the plan, other methods and parts of a chain, shared by all tables and figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gatesearch.report.fields import Record, read
from gatesearch.report.style import GATED, INK

NAMES = {
    "picked": "best plan, gated",
    "ungated_hops": "ungated, hop by hop",
    "ungated_windows": "ungated, every window",
    "level_gate": "level gate before the ungated network",
    "hand_placed": "hand-placed gate",
    "smaller_ungated": "smaller ungated network",
}
COLOURS = {
    "picked": GATED,
    "ungated_hops": INK,
    "ungated_windows": "#9aa5af",
    "level_gate": "#e69f00",
    "hand_placed": "#009e73",
    "smaller_ungated": "#cc79a7",
}
DASHES = {
    "picked": "-",
    "ungated_windows": ":",
    "level_gate": "--",
    "hand_placed": "-.",
    "smaller_ungated": (0, (1, 1)),
}
PARTS = {"idle and sensor": "#dfe3e7", "level gate": "#e69f00", "front end": "#56b4e9"}
# The colours darken from stage to stage, so that a grey print shows the order.
STAGES = ("#7fbfa9", "#2f8f78", "#0d4f45", "#8d7cb8", "#4b3b7a")


def list_results(record: Record) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the name and the figures of the picked plan, then of each other method."""
    stream = read(record, "stream", default={})
    if read(stream, "picked"):
        yield "picked", stream["picked"]
    for name, figures in read(stream, "rivals", default={}).items():
        if figures:
            yield name, figures


def part_colours(names: Sequence[str]) -> dict[str, str]:
    """Return the colour of each part; joined parts, such as "front end, stage 0", have the colour of the first part.

    >>> part_colours(["front end, stage 0", "stage 1"])
    {'front end, stage 0': '#56b4e9', 'stage 1': '#2f8f78'}
    """
    colours = {}
    for name in names:
        first = name.partition(",")[0]
        number = first.rpartition(" ")[2]
        stage = int(number) if number.isdigit() else 0
        colours[name] = PARTS.get(first) or STAGES[stage % len(STAGES)]
    return colours
