"""Writes the figures of a benchmark as rows with their provenance, beside the page that shows them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gatesearch._lib import console
from gatesearch._lib.files import write_whole
from gatesearch._lib.revision import revision as package_revision
from gatesearch.devices.profile import PROVENANCES

RESULTS = Path("results")
PAGE, ROWS = "README.md", "rows.json"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure.

    Args:
        name: what was measured.
        value: median over seeds.
        unit: the unit of the value.
        target: the bound to meet, such as ``<= 1.3`` or ``>= 3``, or a paper's figure in words; None for no target.
        provenance: one of :data:`gatesearch.devices.profile.PROVENANCES`.
        protocol: data, split and procedure.
        seeds: the seeds of the runs.
        values: the figure of each seed.
        command: the command that measures the figure again.

    Raises:
        ValueError: there is no such provenance.
    """

    name: str
    value: float
    unit: str
    target: str | None
    provenance: str
    protocol: str
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    command: str

    def __post_init__(self) -> None:
        if self.provenance not in PROVENANCES:
            raise ValueError(f"{self.name}: provenance {self.provenance!r} is none of {', '.join(PROVENANCES)}")

    @classmethod
    def summarise(cls, name: str, values: Mapping[int, float], unit: str, **rest: Any) -> Row:
        """Build a row from the figure of each seed.

        >>> Row.summarise("accuracy", {0: 0.5, 1: 0.75, 2: 1.0}, "share", target=None, provenance="measured",
        ...               protocol="toy", command="none").value
        0.75
        """
        return cls(
            name=name,
            value=statistics.median(values.values()),
            unit=unit,
            seeds=tuple(values),
            values=tuple(values.values()),
            **rest,
        )


def print_rows(title: str, rows: Sequence[Row]) -> None:
    """Print figures beside their targets."""
    lines = [(row.name, f"{row.value:.4g} {row.unit}", row.target or "") for row in rows]
    console.table(title, ("figure", "median", "target"), lines)


def write_results(folder: Path, rows: Sequence[Row], page: str, revision: str | None = None) -> Path:
    """Write ``rows.json`` and ``README.md``, each with the commit of the code; return the path of the page.

    Args:
        folder: the folder of both files; it is created if it does not exist.
        rows: every figure.
        page: the page in Markdown.
        revision: the revision of the code, in the form of :func:`gatesearch._lib.revision.revision`; None takes the
            revision of this package.
    """
    revision = revision or package_revision()
    commit = revision.rpartition("commit ")[2]
    tree = [asdict(row) | {"commit": commit} for row in rows]
    write_whole(folder / ROWS, json.dumps(tree, indent=1) + "\n")
    return write_whole(folder / PAGE, f"{page.rstrip()}\n\nWritten by {revision}.\n")


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown; vertical bars within cells are escaped.

    >>> print(markdown_table(["a", "b"], [["1", "2 | 3"]]))
    | a | b |
    |---|---|
    | 1 | 2 \\| 3 |
    """
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
    return "\n".join(lines)


def median_and_range(values: Sequence[float], form: str = "{:.1f}") -> str:
    """Return the median and the range over seeds as text.

    >>> median_and_range([3.0, 1.0, 2.0])
    '2.0 (1.0 to 3.0)'
    """
    middle = form.format(statistics.median(values))
    if len(values) == 1:
        return middle
    return f"{middle} ({form.format(min(values))} to {form.format(max(values))})"
