"""Rows, page and plots of the ``hmd`` benchmark, which compares hybrid with otherwise compressed matrices.

The page has a section for each training protocol. A section has a table for each task.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from gatesearch._lib.format import format_duration
from gatesearch.gates.matrices import BEGIN, END
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.report.rows import Row, markdown_table, median_and_range
from results.benchmark import NOT_RUN
from results.hmd import plot
from results.hmd.latency import LATENCIES, RUNTIME_DESCRIPTIONS, describe_runtime
from results.hmd.protocol import PROTOCOLS, Protocol
from results.hmd.quality import QUALITY, UNITS, displayed, improvement_sign
from results.hmd.rows import METHODS, SPECS, TASKS, Spec
from results.hmd.tasks import AVERAGE, SPLIT_SEED
from results.trainings import ProtocolBenchmark, Results, flatten, list_machines

COLUMNS = (
    "method",
    "factor",
    "quality",
    "parameters in matrices",
    "fewer",
    "us a step, best",
    "median",
    "dense / this",
    "seeds",
)
Timings = Mapping[str, Any]  # by task: runtime, machine, rounds and the times of each row in microseconds


class HybridMatrices(ProtocolBenchmark):
    """Hybrid matrices compared with other ways to compress recurrent networks.

    See :class:`results.trainings.ProtocolBenchmark` for the arguments.
    """

    name = "hmd"
    protocols = PROTOCOLS
    plot_title = "Recurrent networks"
    draw = staticmethod(plot.draw)

    def rows(self) -> list[Row]:
        """Return the figures of all trainings, and the latencies of all timed networks."""
        rows: list[Row] = []
        for protocol, results in self.results_by_protocol().items():
            rows += self._rows(protocol, results, self._timings(protocol))
        return rows

    def page(self) -> Mapping[str, object]:
        """Return the values to fill into the template, with a section for each protocol."""
        return {
            "split_seed": SPLIT_SEED,
            "average": AVERAGE,
            "pruning_begin": f"{BEGIN:.0%}",
            "pruning_end": f"{END:.0%}",
            "sections": [self._section(protocol, results) for protocol, results in self.results_by_protocol().items()],
        }

    def _timings(self, protocol: str) -> Timings:
        timings = RunFolder(self.runs() / protocol).read_json(LATENCIES) or {}
        return {task: timing for task, timing in timings.items() if timing["runtime"] in RUNTIME_DESCRIPTIONS}

    def _section(self, protocol: str, results: Results) -> Mapping[str, object]:
        settings = RunFolder(self.runs() / protocol).read_json("settings.json") or {}
        timings = self._timings(protocol)
        return {
            "name": protocol,
            "protocol": Protocol(**{key: settings[key] for key in Protocol.model_fields}),
            "runtimes": sorted({describe_runtime(t["runtime"], t["kernels"]) for t in timings.values()}),
            "comparison": compare_with_other_methods(results, timings),
            "tasks": [_task(task, results, timings.get(task, {})) for task in TASKS],
            "circumstances": _circumstances(results),
        }

    def _rows(self, protocol: str, results: Results, timings: Timings) -> list[Row]:
        rows = []
        for spec in SPECS.values():
            trainings = results.get(spec.name, ())
            title = f"{TASKS[spec.task]}, {METHODS[spec.method]}" + (f", {spec.factor}x" if spec.factor > 1 else "")
            if trainings:
                synthetic = "synthetic data, " if trainings[0]["synthetic"] else ""
                split = f"{synthetic}test split, protocol {protocol}"
                units = {"quality": UNITS[spec.task], "matrix_params": "parameters", "params": "parameters"}
                for key, unit in units.items():
                    values = {result["seed"]: float(result[key]) for result in trainings}
                    name = f"{title}: {key.replace('_', ' ')}"
                    rows.append(self.row(name, values, unit, protocol=split))
            timing = timings.get(spec.task, {})
            if step := timing.get("rows", {}).get(spec.name):
                batch = f"batch 1, {timing['runtime']}, best of {timing['rounds']} rounds"
                rows.append(self.row(f"{title}: a step", {0: step["minimum_us"]}, "us", protocol=batch))
        return rows


def compare_with_other_methods(results: Results, timings: Timings) -> str:
    """Return a table that compares hybrid matrices with each other method at equal compression factors.

    A row covers all tasks that have results of hybrid matrices and of the other method. Without such a task, the result
    is an empty string.
    """
    lines = []
    steps = {task: timing["rows"] for task, timing in timings.items()}
    for method in METHODS:
        if method == "hmd":
            continue
        others = [spec for spec in SPECS.values() if spec.method == method and spec.factor > 1]
        pairs = [(Spec(other.task, "hmd", other.factor), other) for other in others]
        gains = [
            improvement_sign(hybrid.task) * (results[hybrid.name][0]["quality"] - results[other.name][0]["quality"])
            for hybrid, other in pairs
            if results.get(hybrid.name) and results.get(other.name)
        ]
        ratios = [
            steps[hybrid.task][other.name]["minimum_us"] / steps[hybrid.task][hybrid.name]["minimum_us"]
            for hybrid, other in pairs
            if hybrid.task in steps
        ]
        if gains:
            better = f"{sum(gain > 0 for gain in gains)} of {len(gains)}"
            lines.append([METHODS[method], better, *_speed(ratios)])
    columns = (
        "hybrid matrices against, at equal parameters",
        "better in quality",
        "faster",
        "time of the other method / time of hybrid, median",
    )
    return markdown_table(columns, lines) if lines else ""


def _speed(ratios: Sequence[float]) -> tuple[str, str]:
    if not ratios:
        return "not measured", ""
    faster = f"{sum(ratio > 1 for ratio in ratios)} of {len(ratios)}"
    return faster, f"{min(ratios):.2f}x to {max(ratios):.2f}x, {statistics.median(ratios):.2f}x"


def _task(task: str, results: Results, timing: Mapping[str, Any]) -> Mapping[str, object]:
    specs = [spec for spec in SPECS.values() if spec.task == task]
    trainings = [result for spec in specs for result in results.get(spec.name, ())]
    sources = {("synthetic data: " if result["synthetic"] else "") + result["source"] for result in trainings}
    lines = [_line(spec, results, timing.get("rows", {})) for spec in specs]
    return {
        "title": TASKS[task],
        "sources": "; ".join(sorted(sources)),
        "quality": QUALITY[task],
        "timing": timing,
        "table": markdown_table(COLUMNS, lines),
    }


def _line(spec: Spec, results: Results, steps: Mapping[str, Mapping[str, float]]) -> list[str]:
    trainings, dense = results.get(spec.name, ()), results.get(f"{spec.task}-dense", ())
    quality, params, fewer = NOT_RUN, "", ""
    if trainings:
        quality = median_and_range([displayed(spec.task, result["quality"]) for result in trainings], "{:.2f}")
        params = f"{trainings[0]['matrix_params']:,}"
        fewer = f"{dense[0]['matrix_params'] / trainings[0]['matrix_params']:.2f}x" if dense else ""
    best, median, ratio = "", "", ""
    if step := steps.get(spec.name):
        best, median = f"{step['minimum_us']:.1f}", f"{step['median_us']:.1f}"
        dense_step = steps.get(f"{spec.task}-dense")
        ratio = f"{dense_step['minimum_us'] / step['minimum_us']:.2f}x" if dense_step else ""
    factor = "" if spec.method == "dense" else f"{spec.factor}x"
    seeds = ", ".join(str(result["seed"]) for result in trainings)
    return [METHODS[spec.method], factor, quality, params, fewer, best, median, ratio, seeds]


def _circumstances(results: Results) -> str:
    seconds = [result["seconds"] for result in flatten(results)]
    middle = statistics.median(seconds) if seconds else 0.0
    total = format_duration(math.fsum(seconds))
    return f"{len(seconds)} trainings in {total}, median {middle:.0f} s. {list_machines(results)}"
