"""Rows, page and plot of the ``search`` benchmark: search engines compared on recorded tables."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from gatesearch._lib.timing import fingerprint
from gatesearch.report.rows import RESULTS, Row, markdown_table
from results.benchmark import NOT_RUN, Benchmark, Draw, group_by_commit, list_versions
from results.search import plot, real_searches
from results.search.engines import ENGINES
from results.search.library_engines import NEEDS, missing
from results.search.replay import PROPOSALS
from results.search.replays import EVALUATION_COUNTS, Outcome
from results.search.table import DROP, Table

REPLAYED = ("kws16", "image16")
OURS = "GateSampler"
RATIO_TARGET = ">= 4"  # target: evaluations that the best other engine needs, divided by those of GateSampler
TARGETS = {"hypervolume after 50": ">= 0.98", "repeats": "<= 0"}
LIBRARIES = ("optuna", "pymoo", "syne-tune")


class SearchEngines(Benchmark):
    """The benchmark of search engines on recorded tables.

    Args:
        command: command that repeats the benchmark.
        tables: tables on which the engines were replayed.
        outcomes: outcomes of each engine on each table.
        results: folder of all benchmarks.
    """

    name = "search"

    def __init__(
        self, command: str, tables: Sequence[Table], outcomes: Sequence[Outcome], results: Path = RESULTS
    ) -> None:
        super().__init__(command, results)
        self.tables, self.outcomes = tables, outcomes

    def rows(self) -> list[Row]:
        """Return the figures of every engine on every table, then comparisons with the best other engine."""
        rows = [row for outcome in self.outcomes for row in self._rows(outcome)]
        return rows + [row for table in self.tables for row in self.compare_with_best_other_engine(table)]

    def page(self) -> Mapping[str, object]:
        """Return the values to fill into the template, with a section for each table."""
        commits = [(outcome.engine, commit) for outcome in self.outcomes for commit in outcome.revision.values()]
        stamp = fingerprint()
        return {
            "seeds": max((len(outcome.curves) for outcome in self.outcomes), default=0),
            "drop": f"{DROP:g}",
            "tables": [self._section(table) for table in self.tables],
            "searches": real_searches.build_section(self.folder / "tables" / real_searches.RECORD_FILE),
            "proposals": PROPOSALS,
            "commits": group_by_commit(commits),
            "machine": f"{stamp['cpu']}, {stamp['cores']} cores",
            "versions": f"{list_versions(stamp)}{_library_versions()}",
        }

    def plots(self) -> Mapping[str, Draw]:
        """Return the plot of hypervolume against evaluations."""
        return {"search.png": lambda path: plot.draw(self.outcomes, path)}

    def compare_with_best_other_engine(self, table: Table) -> list[Row]:
        """Return a row that compares GateSampler with the best other engine; no row if one of the two has no replay.

        The figure is a ratio: the evaluations that the other engine needs to reach 95 % of the hypervolume, divided by
        the evaluations that GateSampler needs.
        """
        other = _best_other_engine(table, self.outcomes)
        if other is None:
            return []
        what = f"evaluations to 95 %, {other.at_least}median of the best other engine ({other.description}) over ours"
        return [
            self.row(
                f"{table.name}: {what}",
                other.ratios,
                "x",
                target=RATIO_TARGET,
                provenance="simulated",
                protocol=f"replayed on table {table.name}; an engine that never got there counts as one evaluation "
                "more",
            )
        ]

    def _rows(self, outcome: Outcome) -> list[Row]:
        protocol = f"replayed on table {outcome.table}, {outcome.evaluations} evaluations"
        targets = TARGETS if outcome.engine == OURS else {}

        def row(what: str, values: Mapping[int, float], unit: str, provenance: str = "simulated") -> Row:
            return self.row(
                f"{outcome.table}: {outcome.engine}: {what}",
                {seed: value for seed, value in values.items() if math.isfinite(value)},
                unit,
                target=targets.get(what),
                provenance=provenance,
                protocol=protocol,
            )

        rows = [
            row(f"hypervolume after {n}", outcome.volume_after(n), "share")
            for n in EVALUATION_COUNTS
            if n <= outcome.evaluations
        ]
        rows.append(row("evaluations to 95 %", outcome.evaluations_to_enough(), "plans"))
        rows.append(row("repeats", outcome.repeats, "an evaluation"))
        rows.append(row("suggestion", outcome.milliseconds, "ms", "measured"))
        if any(map(math.isfinite, outcome.to_enough.values())):
            rows.append(row("seconds to 95 %, where reached", outcome.to_enough, "s"))
        return rows

    def _section(self, table: Table) -> Mapping[str, object]:
        about = table.about
        outcomes = [outcome for outcome in self.outcomes if outcome.table == table.name]
        heads = [
            "engine",
            *(f"hypervolume after {n}" for n in EVALUATION_COUNTS),
            "evaluations to 95 %",
            "simulated s to 95 %",
        ]
        lines = [_line(name, outcomes) for name in ENGINES]
        return {
            "name": table.name,
            "plans": f"{len(table.plans):,}",
            "engines": markdown_table([*heads, "repeats an evaluation", "ms a suggestion"], lines),
            "best": _describe_best(table, outcomes),
            "about": about,
            "changes": " ".join(about["changes"]),
            "trainings": len(table.seconds),
            "epochs": table.epochs,
            "at": ", ".join(map(str, table.at)),
            "allowed": f"{int((table.allowed & (table.errors[:, -1] <= table.limit)).sum()):,}",
            "front": len(table.front),
            "versions": list_versions(about),
        }


class _OtherEngine(NamedTuple):
    """The engine, other than GateSampler, that needs the fewest evaluations to 95 % of the hypervolume."""

    engine: str
    reached: bool  # whether the engine reached 95 % within its budget
    evaluations: float  # median of its evaluations to 95 %; one more than its budget if it did not reach 95 %
    ours: Mapping[int, float]  # evaluations of GateSampler to 95 %, by seed

    @property
    def description(self) -> str:
        return self.engine if self.reached else f"none within {self.evaluations - 1:.0f}"

    @property
    def at_least(self) -> str:
        return "" if self.reached else "at least "

    @property
    def ratios(self) -> dict[int, float]:
        return {seed: self.evaluations / count for seed, count in self.ours.items()}


def _best_other_engine(table: Table, outcomes: Sequence[Outcome]) -> _OtherEngine | None:
    engines = {outcome.engine: outcome for outcome in outcomes if outcome.table == table.name}
    ours = engines.pop(OURS, None)
    if ours is None or not engines:
        return None
    medians = {name: statistics.median(o.evaluations_to_enough().values()) for name, o in engines.items()}
    best = min(medians, key=medians.__getitem__)
    reached = medians[best] <= engines[best].evaluations
    return _OtherEngine(best, reached, medians[best], ours.evaluations_to_enough())


def _line(engine: str, outcomes: Sequence[Outcome]) -> list[str]:
    outcome = next((outcome for outcome in outcomes if outcome.engine == engine), None)
    if outcome is None:
        why = f"{NOT_RUN}: {NEEDS[engine]} is not installed" if missing(engine) else NOT_RUN
        return [engine, why, *[""] * 7]
    most_seeds = max(len(other.curves) for other in outcomes)
    seeds = f" (seeds: {len(outcome.curves)})" if len(outcome.curves) < most_seeds else ""
    volumes = [_quartiles(outcome.volume_after(n)) if n <= outcome.evaluations else "" for n in EVALUATION_COUNTS]
    enough = outcome.evaluations_to_enough()
    evaluations = f"> {outcome.evaluations}"
    if statistics.median(enough.values()) <= outcome.evaluations:
        evaluations = _quartiles(enough, "{:.0f}", outcome.evaluations)
    seconds = statistics.median(outcome.to_enough.values())
    cut = sum(outcome.cut.values())
    cut_off = f"; {cut} of {len(outcome.cut)} cut off" if cut else ""
    return [
        engine + seeds,
        *volumes,
        evaluations,
        f"{seconds:.0f}" if math.isfinite(seconds) else "",
        f"{statistics.median(outcome.repeats.values()):.2f}{cut_off}",
        f"{statistics.median(outcome.milliseconds.values()):.1f}",
    ]


def _describe_best(table: Table, outcomes: Sequence[Outcome]) -> str:
    other = _best_other_engine(table, outcomes)
    if other is None:
        return ""
    sentences = [f"The best other engine to 95 %: {_compare(other)} (to reach: {RATIO_TARGET})."]
    second = _best_other_engine(table, [outcome for outcome in outcomes if outcome.engine != other.engine])
    if second and not other.reached and second.evaluations > other.evaluations:
        sentences.append(f"{other.engine} had no more; of the others: {_compare(second)}.")
    return "\n".join(sentences)


def _compare(other: _OtherEngine) -> str:
    when = f" after {other.evaluations:g}" if other.reached else ""
    ratio = statistics.median(other.ratios.values())
    return f"{other.description}{when}, {other.at_least}{ratio:.1f} times {OURS}'s"


def _quartiles(values: Mapping[int, float], form: str = "{:.3f}", most: float = math.inf) -> str:
    """Return the median, with the quartiles in brackets; a value above ``most`` becomes ``> most``."""
    every = list(values.values())
    low, middle, high = statistics.quantiles(every, n=4, method="inclusive") if len(every) > 1 else every * 3
    cells = [f"> {most:g}" if value > most else form.format(value) for value in (middle, low, high)]
    return f"{cells[0]} ({cells[1]} to {cells[2]})"


def _library_versions() -> str:
    versions = []
    for name in LIBRARIES:
        try:
            versions.append(f", {name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            versions.append(f", {name} not installed")
    return "".join(versions)
