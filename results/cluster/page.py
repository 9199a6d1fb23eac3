"""Rows, page and plot of the ``cluster`` benchmark: the time that a search adds to trials, and scaling over workers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.report.rows import RESULTS, Row, markdown_table
from results.benchmark import NOT_RUN, Benchmark, Draw, group_by_commit, list_versions
from results.cluster import plot
from results.cluster.measure import PAUSE_S, SEED, STORAGES, TRIAL_S, TRIALS

EXECUTORS = ("local", "ray")
WORKERS = (1, 2, 4, 8, 16, 32, 64)

Measurement = Mapping[str, Any]


class Cluster(Benchmark):
    """The benchmark of the time that a search adds to each trial, and of the efficiency of searches over workers.

    Args:
        command: command that repeats the benchmark.
        runs: folder of the measurements; None: the default folder of this benchmark.
        results: folder of all benchmarks.
    """

    name = "cluster"

    def __init__(self, command: str, runs: RunFolder | None = None, results: Path = RESULTS) -> None:
        super().__init__(command, results)
        runs = runs or self.runs()
        self.engine: dict[str, Measurement] = {}
        for storage in STORAGES:
            if measurement := runs.read_json(f"engine-{storage}.json"):
                self.engine[storage] = measurement
        self.scaling: dict[tuple[str, int], Measurement] = {}
        for executor in EXECUTORS:
            for count in WORKERS:
                if measurement := runs.read_json(f"{executor}-{count}.json"):
                    self.scaling[executor, count] = measurement

    def rows(self) -> list[Row]:
        """Return the search's time per trial by storage, and the efficiency by executor and number of workers."""
        rows = []
        for storage, engine in self.engine.items():
            on_disk = storage == "journal"
            rows.append(
                self.row(
                    "engine, a trial, journal on disk" if on_disk else f"engine, a trial, {storage}",
                    {SEED: engine["mean_ms"]},
                    "ms",
                    target="<= 5" if on_disk else None,
                    protocol=f"{TRIALS} trials, {1e3 * PAUSE_S:g} ms each, plans given, mean",
                )
            )
        for (executor, count), search in self.scaling.items():
            trials = f"{search['trials']} trials that sleep {TRIAL_S:g} s on average"
            rows.append(
                self.row(
                    f"efficiency, {count} workers, {executor}",
                    {SEED: search["efficiency"]},
                    "share",
                    target=">= 0.9" if count == max(WORKERS) else None,
                    protocol=f"{trials}, from when all workers had begun",
                    provenance=provenance(count, search),
                )
            )
        return rows

    def page(self) -> Mapping[str, object]:
        """Return the values to fill into the template, mostly tables."""
        heads = ["kept in", "ask", "tell", "both, median", "mean", "95 %", "target"]
        measurements = [*self.engine.values(), *self.scaling.values()]
        commits = [(f"engine with {storage}", engine["revision"]) for storage, engine in self.engine.items()]
        commits += [(f"{name} with {count}", search["revision"]) for (name, count), search in self.scaling.items()]
        return {
            "trial_s": f"{TRIAL_S:g}",
            "trials": TRIALS,
            "pause_ms": f"{1e3 * PAUSE_S:g}",
            "engine": markdown_table(heads, [_engine_line(name, self.engine.get(name)) for name in STORAGES]),
            "executors": {name: self._scaling_table(name) for name in EXECUTORS},
            "commits": group_by_commit(commits),
            "machines": "; ".join(sorted({_describe(each["machine"]) for each in measurements})),
            "versions": list_versions(measurements[0]["machine"]) if measurements else "",
            "seed": SEED,
        }

    def plots(self) -> Mapping[str, Draw]:
        """Return the plot of efficiency by workers."""
        efficiency = {key: search["efficiency"] for key, search in self.scaling.items()}
        return {"cluster.png": lambda path: plot.draw(efficiency, path)}

    def _scaling_table(self, executor: str) -> str:
        lines = []
        for count in WORKERS:
            search = self.scaling.get((executor, count))
            if search is None:
                lines.append([str(count), *[NOT_RUN] * 5])
                continue
            lines.append(
                [
                    str(count),
                    f"{100 * search['efficiency']:.1f} %",
                    f"{search['trials']}",
                    f"{search['startup_s']:.1f} s",
                    f"{search['makespan_s']:.1f} s",
                    provenance(count, search),
                ]
            )
        return markdown_table(["workers", "efficiency", "trials", "start-up", "whole search", ""], lines)


def provenance(workers: int, search: Measurement) -> str:
    """Return ``measured`` if the machine had a core for each worker, else ``simulated``."""
    return "measured" if workers <= search["machine"]["cores"] else "simulated"


def _engine_line(storage: str, engine: Measurement | None) -> list[str]:
    if engine is None:
        return [storage, *[NOT_RUN] * 5, ""]
    figures = [f"{engine[f'{key}_ms']:.2f} ms" for key in ("ask", "tell", "median", "mean", "p95")]
    return [storage, *figures, "mean at most 5 ms" if storage == "journal" else ""]


def _describe(machine: Mapping[str, Any]) -> str:
    return f"{machine['cpu']}, {machine['cores']} cores"
