"""The pages: results/dsg.md for people, .json and .csv for programs, and a plot for each protocol."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gatesearch._lib.console import duration
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.report import rows as written
from gatesearch.report.rows import Row, by_protocol, markdown_table, median_and_range
from results.dsg import plot, prose
from results.dsg.protocol import PROTOCOLS, Protocol
from results.dsg.rows import SPECS, TABLES, Published, Spec
from results.dsg.run import BASE

Results = Mapping[str, Sequence[Mapping[str, Any]]]


class Figure(NamedTuple):
    """A figure of a row: its unit, what of the paper it stands beside, and how it is shown."""

    unit: str
    paper: str | None
    provenance: str
    scale: float
    form: str


FIGURES: Mapping[str, Figure] = {
    "accuracy": Figure("share", "accuracy", "measured", 100, "{:.2f}"),
    "sparsity": Figure("share", "sparsity", "measured", 100, "{:.2f}"),
    "average_bits": Figure("bits", "average_bits", "measured", 1, "{:.2f}"),
    "saving_paper": Figure("x", "saving", "modelled", 1, "{:.2f}x"),
    "saving_network": Figure("x", None, "modelled", 1, "{:.2f}x"),
}
COLUMNS = (
    *("row", "accuracy %, paper", "accuracy %, ours", "sparsity %, paper", "sparsity %, ours"),
    *("B_avg, paper", "B_avg, ours", "saving, paper", "saving by Eq. 3, ours", "saving of the network, ours"),
    *("seeds", "time a seed"),
)


def write(runs: Path, name: str, command: str, folder: Path = written.FOLDER) -> Path:
    """Write all pages from the results that there are; returns the path of the Markdown.

    Args:
        runs: holds a folder for each protocol.
        name: of the protocol that is shown even without a result.
        command: that was run.
        folder: where pages go.
    """
    shown = by_protocol(runs, PROTOCOLS, name)
    rows = [row for protocol, kept in shown.items() for row in _rows(protocol, kept, command)]
    parts = ["# Precision gating, channel gating and their hybrid on CIFAR-10", f"    {command}", prose.INTRODUCTION]
    for protocol, kept in shown.items():
        settings = Protocol.model_validate(RunFolder(runs / protocol).read_json("settings.json"))
        parts += _section(protocol, settings, kept)
    path = written.write("dsg", rows, "\n\n".join(filter(None, parts)), folder)
    _write_csv(folder / "dsg.csv", shown)
    for protocol, kept in shown.items():
        plot.draw(kept, f"CIFAR-10, protocol {protocol}", folder / f"dsg_{protocol}.png")
    return path


def _section(name: str, protocol: Protocol, kept: Results) -> list[str]:
    parts = [f"## Protocol {name}", prose.described(protocol), f"![Accuracy against saving](dsg_{name}.png)"]
    for table, specs in TABLES.items():
        lines = [_line(spec, kept.get(spec.name, ())) for spec in specs]
        parts += [f"### {prose.TITLES[table]}", prose.NOTES.get(table, ""), markdown_table(COLUMNS, lines)]
    every = [result for row in kept.values() for result in row]
    machines = {result["machine"] for result in every}
    versions = {", ".join(f"{key} {value}" for key, value in result["versions"].items()) for result in every}
    for base in kept.get(BASE, ()):
        reached = f"{100 * base['validation_accuracy']:.2f} % of the validation split"
        parts.append(f"Baseline, seed {base['seed']}: {reached}, {duration(base['seconds'])}.")
    return [*parts, f"Machine: {_listed(machines)}. Versions: {_listed(versions)}."]


def _listed(names: set[str]) -> str:
    return "; ".join(sorted(names)) or "none"


def _line(spec: Spec, kept: Sequence[Mapping[str, Any]]) -> list[str]:
    cells = [spec.title]
    for name, figure in FIGURES.items():
        paper = _paper(spec, figure)
        values = [result[name] for result in kept]
        if figure.paper:
            cells.append("" if paper is None else _shown(figure, [paper]))
        cells.append("not run" if not values else "" if None in values else _shown(figure, values))
    seconds = [result["seconds"] for result in kept]
    seeds = ", ".join(str(result["seed"]) for result in kept)
    return [*cells, seeds, duration(statistics.median(seconds)) if seconds else ""]


def _shown(figure: Figure, values: Sequence[float]) -> str:
    return median_and_range([figure.scale * value for value in values], figure.form)


def _paper(spec: Spec, figure: Figure) -> float | None:
    return getattr(spec.published, figure.paper) if figure.paper else None


def _rows(protocol: str, kept: Results, command: str) -> list[Row]:
    rows = []
    for spec in SPECS.values():
        for name, figure in FIGURES.items():
            values = {result["seed"]: result[name] for result in kept.get(spec.name, ())}
            if not values or None in values.values():
                continue
            paper = _paper(spec, figure)
            rows.append(
                Row.summarise(
                    f"{spec.title}: {name.replace('_', ' ')}",
                    values,
                    figure.unit,
                    target=None if paper is None else f"{paper:g} (paper)",
                    provenance=figure.provenance,
                    protocol=f"CIFAR-10 test split, protocol {protocol}",
                    command=command,
                )
            )
    return rows


def _write_csv(path: Path, shown: Mapping[str, Results]) -> None:
    paper = {f"paper_{name}": name for name in Published.__dataclass_fields__}
    more = ("sparsity_everywhere", "sparsity_weighted", "goal", "target", "steps", "seconds", "machine")
    columns = ["protocol", "row", "title", "seed", "status", *FIGURES, *more, *paper]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        for protocol, kept in shown.items():
            for spec in SPECS.values():
                line = {"protocol": protocol, "row": spec.name, "title": spec.title, "goal": spec.goal}
                line |= {column: getattr(spec.published, name) for column, name in paper.items()}
                for result in kept.get(spec.name) or ({"status": "not run"},):
                    writer.writerow({"status": "run", **line, **result})
