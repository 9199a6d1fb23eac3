"""Rows, page and plot of the ``boards`` benchmark: prices compared with published figures of boards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from gatesearch.report.rows import RESULTS, Row, markdown_table
from results.benchmark import Benchmark, Draw, describe_verdict, meets_target
from results.boards import cycles_page, ethos_u_page, factors, plot, tables
from results.boards.comparison import LARGEST_ERROR, Comparison, closest, compare, is_close
from results.boards.cycles import Outcome
from results.boards.ethos_u import NpuTime
from results.boards.instructions import STREAM, CoreInstructions
from results.boards.part_factors import PartFactor, part_factors
from results.boards.published import Published
from results.boards.wake_word import LARGEST_POWER_ERROR, WakeWord, wake_words

LARGEST_TABLE_ERROR = 0.1  # target for the kernel table's error of a network
MIN_PARTS, MIN_STREAMS = 5, 3  # targets: parts with close latencies, parts with a close mean power
PRICE_PROTOCOL = (
    "instructions of the network from the kernel table, times the geometric mean of time / instructions of the three "
    "other networks; published by {system}, {round}, {organisation}"
)
COUNT_PROTOCOL = "every kernel call of the network, counted in QEMU; batch normalisations folded, int8"
STREAM_PROTOCOL = (
    "price of front end and network for each hop of 32 ms; active power of the part's energy runs; floor read"
)


class Boards(Benchmark):
    """The benchmark of prices and published boards.

    Args:
        command: command that repeats the benchmark.
        cores: instructions of the networks by kernel table.
        published: the published figures.
        outcomes: predictions with counted instructions, and with estimates of cycles; empty if there are none.
        npu_times: Vela's estimates for the networks on published NPUs; empty if there are none.
        results: folder of all benchmarks.
    """

    name = "boards"

    def __init__(
        self,
        command: str,
        cores: Mapping[str, CoreInstructions],
        published: Published,
        outcomes: Sequence[Outcome] = (),
        npu_times: Sequence[NpuTime] = (),
        results: Path = RESULTS,
    ) -> None:
        super().__init__(command, results)
        self.cores, self.published, self.outcomes = cores, published, outcomes
        self.npu_times = npu_times
        self.comparisons = compare(published, cores)
        self.closest = closest(self.comparisons)
        self.factors = part_factors(published, self.comparisons, cores)
        self.wake_words = wake_words(published, cores, self.factors)

    def rows(self) -> list[Row]:
        """Return the targets, then the figures of each part, then the instructions of each network."""
        rows = self._target_rows()
        for comparison in self.closest.values():
            rows += self._part_rows(comparison)
        rows += [self._factor_row(factor) for factor in self.factors.values()]
        for wake_word in self.wake_words:
            rows += self._stream_rows(wake_word)
        for core, instructions in self.cores.items():
            rows += self._instruction_rows(core, instructions)
        rows += cycles_page.rows(self.outcomes, self.command)
        rows += ethos_u_page.rows(self.npu_times, self.command)
        return rows

    def page(self) -> Mapping[str, object]:
        """Return the values to fill into the template, mostly tables."""
        targets = self._target_rows()
        return {
            "targets": markdown_table(
                ["figure", "target", "reached", ""],
                [
                    [
                        row.name,
                        row.target or "",
                        f"{row.value:g}",
                        describe_verdict(meets_target(row.target, row.value)),
                    ]
                    for row in targets
                    if row.target
                ],
            ),
            "stale": [core for core, each in self.cores.items() if each.table_error > LARGEST_TABLE_ERROR],
            "networks": tables.networks(self.cores),
            "layers": tables.layers(self.cores),
            "cycles": tables.cycles(self.comparisons),
            "latencies": tables.latencies(list(self.closest.values())),
            "others": tables.latencies([each for each in self.comparisons if each not in self.closest.values()]),
            "spread": self._spread(),
            "organisations": tables.organisations(self.comparisons),
            "weights": tables.weights(list(self.closest.values())),
            "energies": tables.energies(self.comparisons),
            "factors": tables.factors_table(self.factors, self.published),
            "streams": tables.streams(self.wake_words, self.comparisons),
            "active_powers": tables.active_powers(self.wake_words),
            "unpredicted": tables.unpredicted(self.published, self.cores, self.wake_words),
            "cycle_comparison": cycles_page.values(self.outcomes),
            "npu_times": ethos_u_page.table(self.npu_times),
            "npus": self.published.npus,
            "tools": tables.tools(self.cores),
        }

    def plots(self) -> Mapping[str, Draw]:
        """Return the plot of predicted and published latencies."""
        return {"boards.png": partial(plot.draw, self.comparisons, self.closest)}

    def _spread(self) -> Mapping[str, object]:
        """Return the differences among the programs of one part, for the part with most programs."""
        systems: dict[str, list[Comparison]] = {}
        for each in self.comparisons:
            systems.setdefault(each.system.part, []).append(each)
        most = max(systems.values(), key=len)
        kws = [each.system.ms["kws"] for each in most]
        ratios = sorted(each.system.ms["vww"] / each.system.ms["ic"] for each in most)
        return {
            "part": most[0].part.title,
            "systems": len(most),
            "kws": f"{max(kws) / min(kws):.1f}",
            "low": f"{ratios[0]:.2f}",
            "high": f"{ratios[-1]:.2f}",
        }

    def _target_rows(self) -> list[Row]:
        close = [part for part, comparison in self.closest.items() if is_close(comparison.errors)]
        powers = {each.stream.part for each in self.wake_words if each.is_close}
        return [
            self.row(
                f"parts on which the price predicts a software's four latencies within {LARGEST_ERROR:.0%}",
                {0: float(len(close))},
                "parts",
                target=f">= {MIN_PARTS}",
                provenance="modelled",
                protocol=f"{len(self.comparisons)} systems of {len(self.closest)} parts; each network left out in turn",
            ),
            self.row(
                f"parts whose mean power with the streaming wake word is predicted within {LARGEST_POWER_ERROR:.0%}",
                {0: float(len(powers))},
                "parts",
                target=f">= {MIN_STREAMS}",
                provenance="modelled",
                protocol=STREAM_PROTOCOL,
            ),
        ]

    def _part_rows(self, comparison: Comparison) -> list[Row]:
        system = comparison.system
        protocol = PRICE_PROTOCOL.format(system=system.system, round=system.round, organisation=system.organisation)
        rows = [
            self.row(
                f"{system.part}, {task}: latency, predicted",
                {0: value},
                "ms",
                provenance="modelled",
                protocol=f"{protocol}: {system.ms[task]:g} ms, {system.ms_provenance}",
            )
            for task, value in comparison.predicted_ms.items()
        ]
        error = self.row(
            f"{system.part}: largest error of latency",
            {0: factors.largest(comparison.errors)},
            "share",
            provenance="modelled",
            protocol=protocol,
            target=f"<= {LARGEST_ERROR}",
        )
        return [*rows, error]

    def _factor_row(self, factor: PartFactor) -> Row:
        return self.row(
            f"{factor.part}: instructions per cycle",
            {0: factor.instructions_per_cycle},
            "instructions/cycle",
            provenance="derived",
            protocol=factor.source,
        )

    def _stream_rows(self, wake_word: WakeWord) -> list[Row]:
        stream = wake_word.stream
        name = f"{stream.part} at {stream.mhz:g} MHz, streaming wake word"
        return [
            self.row(
                f"{name}: mean power",
                {0: wake_word.mean_mw},
                "mW",
                provenance="modelled",
                protocol=f"{STREAM_PROTOCOL}; published: {stream.mean_mw:g} mW. {wake_word.assumption}".strip(),
            ),
            self.row(
                f"{name}: error of mean power",
                {0: abs(wake_word.error)},
                "share",
                provenance="modelled",
                protocol=STREAM_PROTOCOL,
                target=f"<= {LARGEST_POWER_ERROR}",
            ),
        ]

    def _instruction_rows(self, core: str, instructions: CoreInstructions) -> list[Row]:
        predicted = {**instructions.predicted, f"{STREAM} front end": instructions.predicted_front_end}
        counted = {**instructions.counted, f"{STREAM} front end": instructions.counted_front_end}
        table = self.row(
            f"{core}: largest error of the kernel table",
            {0: instructions.table_error},
            "share",
            provenance="simulated",
            protocol=f"predicted / counted instructions of {len(predicted) - 1} networks",
            target=f"<= {LARGEST_TABLE_ERROR}",
        )
        rows = [
            self.row(
                f"{core}, {name}: instructions, {how}",
                {0: round(values[name])},
                "instructions",
                provenance="simulated",
                protocol=protocol,
            )
            for name in predicted
            for how, values, protocol in (
                ("predicted", predicted, "sum of the kernel table's predictions"),
                ("counted", counted, COUNT_PROTOCOL),
            )
        ]
        return [table, *rows]
