"""The pages: results/hmd.md for people, .json for programs, and a plot for each protocol."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gatesearch._lib.console import duration
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.report import rows as written
from gatesearch.report.rows import Row, by_protocol, markdown_table, median_and_range
from results.hmd import plot, prose
from results.hmd.protocol import PROTOCOLS, Protocol
from results.hmd.rows import METHODS, SPECS, TASKS, Spec
from results.hmd.run import LATENCIES, spent

Results = Mapping[str, Sequence[Mapping[str, Any]]]
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


def write(runs: Path, name: str, command: str, folder: Path = written.FOLDER) -> Path:
    """Write all pages from the results that there are; returns the path of the Markdown.

    Args:
        runs: holds a folder for each protocol.
        name: of the protocol that is shown even without a result.
        command: that was run.
        folder: where pages go.
    """
    shown = by_protocol(runs, PROTOCOLS, name)
    rows: list[Row] = []
    parts = ["# Recurrent networks with less in their matrices", f"    {command}", prose.INTRODUCTION]
    for protocol, kept in shown.items():
        kept_settings = RunFolder(runs / protocol).read_json("settings.json") or {}
        settings = Protocol(**{key: kept_settings[key] for key in Protocol.model_fields})
        kept_timings = RunFolder(runs / protocol).read_json(LATENCIES) or {}
        timings = {task: timed for task, timed in kept_timings.items() if timed["runtime"] in prose.STEPS}
        parts += [
            f"## Protocol {protocol}",
            prose.described(settings),
            *sorted({prose.runtime(timed["runtime"], timed["kernels"]) for timed in timings.values()}),
            f"![Quality against parameters](hmd_{protocol}.png)",
        ]
        parts.append(_against(kept, timings))
        for task in TASKS:
            parts += _section(task, kept, timings.get(task, {}))
        parts.append(_circumstances(kept))
        rows += _rows(protocol, kept, timings, command)
    path = written.write("hmd", rows, "\n\n".join(filter(None, parts)), folder)
    for protocol, kept in shown.items():
        plot.draw(kept, f"Recurrent networks, protocol {protocol}", folder / f"hmd_{protocol}.png")
    return path


def _against(kept: Results, timings: Mapping[str, Any]) -> str:
    """Return hybrid matrices beside each rival at the same factor, over all tasks that have both; empty if none has."""
    lines = []
    for method in METHODS:
        pairs = [
            (spec, Spec(spec.task, "hmd", spec.factor))
            for spec in SPECS.values()
            if spec.method == method and spec.factor > 1 and method != "hmd"
        ]
        better = [
            prose.sign(ours.task) * (kept[ours.name][0]["quality"] - kept[theirs.name][0]["quality"])
            for theirs, ours in pairs
            if kept.get(ours.name) and kept.get(theirs.name)
        ]
        found = {task: timed["rows"] for task, timed in timings.items()}
        faster = [
            found[ours.task][theirs.name]["minimum_us"] / found[ours.task][ours.name]["minimum_us"]
            for theirs, ours in pairs
            if ours.task in found
        ]
        if better:
            won = f"{sum(gain > 0 for gain in better)} of {len(better)}"
            times = f"{min(faster):.2f}x to {max(faster):.2f}x, {statistics.median(faster):.2f}x" if faster else ""
            quick = f"{sum(gain > 1 for gain in faster)} of {len(faster)}" if faster else "not measured"
            lines.append([METHODS[method], won, quick, times])
    heads = (
        "hybrid matrices against, at equal parameters",
        "better in quality",
        "faster",
        "rival's time / theirs, middle",
    )
    return markdown_table(heads, lines) if lines else ""


def _section(task: str, kept: Results, timings: Mapping[str, Any]) -> list[str]:
    specs = [spec for spec in SPECS.values() if spec.task == task]
    every = [result for spec in specs for result in kept.get(spec.name, ())]
    sources = {("synthetic data: " if result["synthetic"] else "") + result["source"] for result in every}
    about = f"Data: {'; '.join(sorted(sources))}." if sources else "Not run."
    told = f" Quality is {prose.QUALITY[task]}."
    if timings:
        told += (
            f" Latency: **measured** with {timings['runtime']}, on {timings['machine']}, {timings['rounds']} rounds, "
            f"{timings['date']}."
        )
    lines = [_line(spec, kept, timings.get("rows", {})) for spec in specs]
    return [f"### {TASKS[task]}", about + told, markdown_table(COLUMNS, lines)]


def _line(spec: Spec, kept: Results, timings: Mapping[str, Mapping[str, float]]) -> list[str]:
    found = kept.get(spec.name, ())
    dense = kept.get(f"{spec.task}-dense", ())
    cells = [METHODS[spec.method], "" if spec.method == "dense" else f"{spec.factor}x"]
    cells.append(
        median_and_range([prose.shown(spec.task, r["quality"]) for r in found], "{:.2f}") if found else "not run"
    )
    cells.append(f"{found[0]['matrix_params']:,}" if found else "")
    cells.append(f"{dense[0]['matrix_params'] / found[0]['matrix_params']:.2f}x" if found and dense else "")
    timing = timings.get(spec.name)
    first = timings.get(f"{spec.task}-dense")
    cells += [f"{timing['minimum_us']:.1f}", f"{timing['median_us']:.1f}"] if timing else ["", ""]
    cells.append(f"{first['minimum_us'] / timing['minimum_us']:.2f}x" if timing and first else "")
    return [*cells, ", ".join(str(result["seed"]) for result in found)]


def _circumstances(kept: Results) -> str:
    every = [result for row in kept.values() for result in row]
    machines = {result["machine"] for result in every}
    versions = {", ".join(f"{key} {value}" for key, value in result["versions"].items()) for result in every}
    middle = statistics.median([result["seconds"] for result in every]) if every else 0.0
    return (
        f"{len(every)} trainings in {duration(spent(kept))}, {middle:.0f} s the middle one. "
        f"Machine: {'; '.join(sorted(machines)) or 'none'}. Versions: {'; '.join(sorted(versions)) or 'none'}."
    )


def _rows(protocol: str, kept: Results, timings: Mapping[str, Any], command: str) -> list[Row]:
    rows = []
    for spec in SPECS.values():
        found = kept.get(spec.name, ())
        title = f"{TASKS[spec.task]}, {METHODS[spec.method]}" + (f", {spec.factor}x" if spec.factor > 1 else "")
        figures = {"quality": prose.UNITS[spec.task], "matrix_params": "parameters", "params": "parameters"}
        for name, unit in figures.items() if found else ():
            rows.append(
                Row.summarise(
                    f"{title}: {name.replace('_', ' ')}",
                    {result["seed"]: float(result[name]) for result in found},
                    unit,
                    target=None,
                    provenance="measured",
                    protocol=f"{'synthetic data, ' if found[0]['synthetic'] else ''}test split, protocol {protocol}",
                    command=command,
                )
            )
        timing = timings.get(spec.task, {}).get("rows", {}).get(spec.name)
        if timing:
            rows.append(
                Row.summarise(
                    f"{title}: a step",
                    {0: timing["minimum_us"]},
                    "us",
                    target=None,
                    provenance="measured",
                    protocol=f"batch 1, {timings[spec.task]['runtime']}, best of {timings[spec.task]['rounds']} rounds",
                    command=command,
                )
            )
    return rows
