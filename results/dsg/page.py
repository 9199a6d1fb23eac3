"""Rows, page and plots of the ``dsg`` benchmark: precision and channel gating on CIFAR-10.

The page has a section for each training protocol. A section has a table for each table of the paper (Huang et al. 2020,
"Pushing the Envelope of Dynamic Spatial Gating technologies").
"""

from __future__ import annotations

import csv
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from gatesearch._lib.format import format_duration
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.report.rows import Row, markdown_table, median_and_range
from results.benchmark import NOT_RUN
from results.dsg import plot
from results.dsg.protocol import PROTOCOLS, Protocol
from results.dsg.rows import EQUAL_BITS, SPECS, TABLES, Published, Spec
from results.dsg.run import BASE, SETTLED_ON, SPLIT_SEED
from results.trainings import ProtocolBenchmark, Result, Results, list_machines


class Figure(NamedTuple):
    """One of the figures that each row has, such as the accuracy, and how tables show it.

    Args:
        unit: unit of the figure.
        paper: attribute of :class:`Published` that holds the paper's figure; None if the paper has none.
        provenance: measured or modelled.
        scale: factor by which tables multiply the figure.
        form: format of the figure in tables.
    """

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
    "row",
    "accuracy %, paper",
    "accuracy %, ours",
    "sparsity %, paper",
    "sparsity %, ours",
    "B_avg, paper",
    "B_avg, ours",
    "saving, paper",
    "saving by Eq. 3, ours",
    "saving of the network, ours",
    "seeds",
    "time a seed",
)
CSV_FILE = "rows.csv"
CSV_EXTRAS = ("sparsity_everywhere", "sparsity_weighted", "goal", "target", "steps", "seconds", "machine")


class SpatialGating(ProtocolBenchmark):
    """Precision gating, channel gating and their hybrid on CIFAR-10.

    See :class:`results.trainings.ProtocolBenchmark` for the arguments.
    """

    name = "dsg"
    protocols = PROTOCOLS
    plot_title = "CIFAR-10"
    draw = staticmethod(plot.draw)

    def rows(self) -> list[Row]:
        """Return every figure of every row that has a result."""
        rows = []
        for protocol, results in self.results_by_protocol().items():
            for spec in SPECS.values():
                for name, figure in FIGURES.items():
                    values = {result["seed"]: result[name] for result in results.get(spec.name, ())}
                    if values and None not in values.values():
                        printed = _printed(spec, figure)
                        rows.append(
                            self.row(
                                f"{spec.title}: {name.replace('_', ' ')}",
                                values,
                                figure.unit,
                                target=None if printed is None else f"{printed:g} (paper)",
                                provenance=figure.provenance,
                                protocol=f"CIFAR-10 test split, protocol {protocol}",
                            )
                        )
        return rows

    def page(self) -> Mapping[str, object]:
        """Return the values to fill into the template, with a section for each protocol."""
        return {
            "split_seed": SPLIT_SEED,
            "settled_on": SETTLED_ON,
            "equal_bits": EQUAL_BITS,
            "sections": [self._section(protocol, results) for protocol, results in self.results_by_protocol().items()],
        }

    def publish(self) -> Path:
        """Write rows, page and plots, and a CSV file with a line for every training."""
        path = super().publish()
        _write_csv(self.folder / CSV_FILE, self.results_by_protocol())
        return path

    def _section(self, protocol: str, results: Results) -> Mapping[str, object]:
        settings = RunFolder(self.runs() / protocol).read_json("settings.json")
        tables = {}
        for table, specs in TABLES.items():
            tables[table] = markdown_table(COLUMNS, [_line(spec, results.get(spec.name, ())) for spec in specs])
        baselines = [
            {
                "seed": base["seed"],
                "accuracy": f"{100 * base['validation_accuracy']:.2f}",
                "duration": format_duration(base["seconds"]),
            }
            for base in results.get(BASE, ())
        ]
        return {
            "name": protocol,
            "protocol": Protocol.model_validate(settings),
            "tables": tables,
            "baselines": baselines,
            "circumstances": list_machines(results),
        }


def _line(spec: Spec, results: Sequence[Result]) -> list[str]:
    cells = [spec.title]
    for name, figure in FIGURES.items():
        printed = _printed(spec, figure)
        values = [result[name] for result in results]
        if figure.paper:
            cells.append("" if printed is None else _format(figure, [printed]))
        if not values:
            cells.append(NOT_RUN)
        else:
            cells.append("" if None in values else _format(figure, values))
    seconds = [result["seconds"] for result in results]
    seeds = ", ".join(str(result["seed"]) for result in results)
    return [*cells, seeds, format_duration(statistics.median(seconds)) if seconds else ""]


def _format(figure: Figure, values: Sequence[float]) -> str:
    return median_and_range([figure.scale * value for value in values], figure.form)


def _printed(spec: Spec, figure: Figure) -> float | None:
    """Return the value that the paper prints for a figure of a row; None if the paper prints none."""
    return getattr(spec.published, figure.paper) if figure.paper else None


def _write_csv(path: Path, protocols: Mapping[str, Results]) -> None:
    paper = {f"paper_{name}": name for name in Published.__dataclass_fields__}
    columns = ["protocol", "row", "title", "seed", "status", *FIGURES, *CSV_EXTRAS, *paper]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        for protocol, results in protocols.items():
            for spec in SPECS.values():
                line = {"protocol": protocol, "row": spec.name, "title": spec.title, "goal": spec.goal}
                line |= {column: getattr(spec.published, name) for column, name in paper.items()}
                for result in results.get(spec.name) or ({"status": NOT_RUN},):
                    writer.writerow({"status": "run", **line, **result})
