"""Rows of measured figures, and the two files that a benchmark writes of them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gatesearch._lib import console
from gatesearch._lib.revision import revision

FOLDER = Path("results")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure.

    Args:
        name: what.
        value: median over seeds.
        unit: of the value.
        target: what it was to reach, as text; None where nothing was promised.
        provenance: measured, simulated, modelled or assumed.
        protocol: data, split and procedure.
        seeds: one value each.
        values: the figure of every seed.
        command: that makes it again.
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

    @classmethod
    def over(cls, name: str, values: Mapping[int, float], unit: str, **rest: Any) -> Row:
        """Build a row from the figure of each seed.

        >>> Row.over("accuracy", {0: 0.5, 1: 0.75, 2: 1.0}, "share", target=None, provenance="measured",
        ...          protocol="toy", command="none").value
        0.75
        """
        return cls(
            name, statistics.median(values.values()), unit, seeds=tuple(values), values=tuple(values.values()), **rest
        )


def by_row(folder: Path) -> dict[str, list[Mapping[str, Any]]]:
    """Return what a folder of trainings holds, ``*/result.json``, by row, in the order of seeds."""
    found = [json.loads(path.read_text()) for path in folder.glob("*/result.json")]
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for result in sorted(found, key=lambda result: result["seed"]):
        rows.setdefault(result["row"], []).append(result)
    return rows


def by_protocol(runs: Path, protocols: Iterable[str], name: str) -> dict[str, dict[str, list[Mapping[str, Any]]]]:
    """Return what each protocol's folder holds; one without a result only where it has the given name."""
    found = {protocol: by_row(runs / protocol) for protocol in protocols if (runs / protocol).exists()}
    return {protocol: kept for protocol, kept in found.items() if kept or protocol == name}


def show(name: str, rows: Sequence[Row]) -> None:
    """Print the figures of a benchmark beside what they were to reach."""
    shown = [(row.name, f"{row.value:.4g} {row.unit}", row.target or "") for row in rows]
    console.table(name, ("figure", "median", "target"), shown)


def write(name: str, rows: Sequence[Row], markdown: str, folder: Path = FOLDER) -> Path:
    """Write results/NAME.json and results/NAME.md, each with the state of the code; returns the latter's path."""
    folder.mkdir(exist_ok=True)
    written = [asdict(row) | {"revision": revision()} for row in rows]
    (folder / f"{name}.json").write_text(json.dumps(written, indent=1) + "\n")
    path = folder / f"{name}.md"
    path.write_text(f"{markdown.rstrip()}\n\nWritten by {revision()}.\n")
    return path


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown; a bar within a cell, as between the gates of a plan, is one of the cell.

    >>> print(markdown_table(["a", "b"], [["1", "2 | 3"]]))
    | a | b |
    |---|---|
    | 1 | 2 \\| 3 |
    """
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join(lines + ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows])


def made_by(made: Iterable[tuple[str, str]]) -> str:
    """Say which state of the code made what, of (what, state); nothing where there was one state alone.

    >>> made_by([("a", "commit 1"), ("b", "commit 2"), ("c", "commit 1")])
    'Made by commit 1: a, c; by commit 2: b.'
    >>> made_by([("a", "commit 1"), ("b", "commit 1")])
    ''
    """
    states: dict[str, dict[str, None]] = {}
    for what, state in made:
        states.setdefault(state, {})[what] = None
    told = [f"by {state}: {', '.join(every)}" for state, every in states.items()]
    return f"Made {'; '.join(told)}." if len(told) > 1 else ""


def spread(values: Sequence[float], form: str = "{:.1f}") -> str:
    """Return the median and the range over seeds.

    >>> spread([3.0, 1.0, 2.0])
    '2.0 (1.0 to 3.0)'
    """
    middle = form.format(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({form.format(min(values))} to {form.format(max(values))})"
