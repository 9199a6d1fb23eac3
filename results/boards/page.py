"""Rows, page and plot of the ``boards`` benchmark: prices compared with published figures of boards."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from gatesearch.report.rows import RESULTS, Row, markdown_table
from results.benchmark import Benchmark, Draw, describe_verdict
from results.boards import factors, plot, tables
from results.boards.comparison import LARGEST_ERROR, Comparison, compare, fastest, is_close
from results.boards.instructions import STREAM, CoreInstructions
from results.boards.networks import NETWORKS
from results.boards.published import Published

LEAST_PARTS = 5  # target: parts on which no error is larger than LARGEST_ERROR
PRICE_PROTOCOL = (
    "instructions of the network from the kernel table, times the geometric mean of time / instructions of the part's "
    "three other networks; published by {system}, {round}, {organisation}"
)
COUNT_PROTOCOL = "every kernel call of the network, counted in QEMU; batch normalisations folded, int8"


class Boards(Benchmark):
    """The benchmark of prices and published boards.

    Args:
        command: command that repeats the benchmark.
        cores: instructions of the networks by kernel table.
        published: the published figures.
        results: folder of all benchmarks.
    """

    name = "boards"

    def __init__(
        self,
        command: str,
        cores: Mapping[str, CoreInstructions],
        published: Published,
        results: Path = RESULTS,
    ) -> None:
        super().__init__(command, results)
        self.cores, self.published = cores, published
        self.comparisons = compare(published, cores)
        self.fastest = fastest(self.comparisons)

    def rows(self) -> list[Row]:
        """Return the targets, then the errors of each part, then the instructions of each network."""
        close = sum(is_close(comparison.errors) for comparison in self.fastest)
        rows = [
            self.row(
                f"parts whose four latencies are within {LARGEST_ERROR:.0%}",
                {0: float(close)},
                "parts",
                target=f">= {LEAST_PARTS}",
                provenance="modelled",
                protocol=f"the fastest published system of each of {len(self.fastest)} parts; one network left out",
            )
        ]
        for comparison in self.fastest:
            rows += self._part_rows(comparison)
        for core, instructions in self.cores.items():
            for task in (*NETWORKS, STREAM):
                rows += [
                    self.row(
                        f"{core}, {task}: instructions, {how}",
                        {0: round(values[task])},
                        "instructions",
                        provenance=provenance,
                        protocol=protocol,
                    )
                    for how, values, provenance, protocol in (
                        ("predicted", instructions.predicted, "simulated", "sum of the kernel table's predictions"),
                        ("counted", instructions.counted, "simulated", COUNT_PROTOCOL),
                    )
                ]
        return rows

    def page(self) -> Mapping[str, object]:
        """Return the values to fill into the template, mostly tables."""
        return {
            "networks": tables.networks(self.cores),
            "layers": tables.layers(self.cores),
            "cycles": tables.cycles(self.fastest),
            "latencies": tables.latencies(self.fastest),
            "others": tables.latencies([each for each in self.comparisons if each not in self.fastest]),
            "energies": tables.energies(self.comparisons),
            "targets": self._target_table(),
            "far": [each for each in self.fastest if not is_close(each.errors)],
            "tools": tables.tools(self.cores),
        }

    def plots(self) -> Mapping[str, Draw]:
        """Return the plot of predicted and published latencies."""
        return {"boards.png": partial(plot.draw, self.fastest)}

    def _part_rows(self, comparison: Comparison) -> list[Row]:
        system = comparison.system
        protocol = PRICE_PROTOCOL.format(system=system.system, round=system.round, organisation=system.organisation)
        rows = [
            self.row(
                f"{system.part}, {task}: latency, predicted",
                {0: value},
                "ms",
                provenance="modelled",
                protocol=protocol,
                target=f"{system.ms[task]:g} ms {system.ms_provenance}",
            )
            for task, value in comparison.predicted_ms.items()
        ]
        return [
            *rows,
            self.row(
                f"{system.part}: largest error of latency",
                {0: factors.largest(comparison.errors)},
                "share",
                provenance="modelled",
                protocol=protocol,
                target=f"<= {LARGEST_ERROR}",
            ),
            self.row(
                f"{system.part}: instructions per cycle",
                {0: comparison.instructions_per_cycle},
                "instructions/cycle",
                provenance="derived",
                protocol=f"geometric mean over the four networks; {system.round}, {system.organisation}",
            ),
        ]

    def _target_table(self) -> str:
        lines = []
        for row in self.rows():
            if row.target and row.unit == "parts":
                met = describe_verdict(row.value >= LEAST_PARTS)
                lines.append([row.name, row.target, f"{row.value:g} of {len(self.fastest)}", met])
        return markdown_table(["figure", "target", "reached", ""], lines)
