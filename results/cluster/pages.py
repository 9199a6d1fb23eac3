"""results/cluster.md for people and .json for programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.report import rows as written
from gatesearch.report.rows import Row, markdown_table
from results.cluster import EXECUTORS, WORKERS, plot
from results.cluster.measure import PAUSE_S, SECONDS, SEED, STORAGES, TRIALS
from results.runs import versions

RUNS = Path("runs/bench-cluster")
OVERHEAD, EFFICIENCY = "engine, a trial, journal on disk", "efficiency, {} workers, {}"
INTRODUCTION = f"""What the engine costs a trial, and how searches scale over workers. No trial here trains anything:
each sleeps for a known length, {SECONDS:g} s on average, half as much to one and a half times as much. A sleeping
worker needs no core. So with more workers than the machine has cores this is a **simulation** of a larger machine: the
worker processes, the messages, the sampler and the journal are real, and they share the few cores there are; the work
is not. What it cannot show: data that travels, and trainings that compete for memory."""
ENGINE = f"""{TRIALS} trials, {1e3 * PAUSE_S:g} ms between asking and telling, plans given in advance, so that this is
all but the sampler: proposing, checking for repeats, pricing by a function that does nothing (ask); keeping what came
of it (tell). The journal gets an entry with each trial and is pushed to the disk beside the next trial: a killed
process loses nothing, a power cut the last milliseconds."""
SCALING = """*Efficiency* is the share of the workers' time spent in trials, from when every worker had begun its first
until none was left to begin: 1 less what proposing, telling and messages cost. *Start-up* is the time until then, most
of it processes being started on this machine's few cores, which a cluster does side by side."""


def write(folder: RunFolder, command: str, to: Path = written.FOLDER) -> tuple[list[Row], Path]:
    """Write all pages from what was measured; returns the rows and the path of the Markdown.

    Args:
        folder: where each row's measurement is.
        command: that was run.
        to: where pages go.
    """
    engine = {name: found for name in STORAGES if (found := folder.read_json(f"engine-{name}.json"))}
    scaling = {
        (name, count): found
        for name in EXECUTORS
        for count in WORKERS
        if (found := folder.read_json(f"{name}-{count}.json"))
    }
    rows = _rows(engine, scaling, command)
    parts = [
        "# The engine, from one worker to a cluster",
        f"    {command}",
        INTRODUCTION,
        "![efficiency by workers](cluster.png)",
        "## What the engine costs a trial (measured)",
        ENGINE,
        markdown_table(
            ["kept in", "ask", "tell", "both, median", "mean", "95 %", "target"],
            [_engine(name, engine.get(name)) for name in STORAGES],
        ),
        "## Workers",
        SCALING,
        *(f"### {name}\n\n{_scaling(name, scaling)}" for name in EXECUTORS),
        written.made_by(
            [(f"engine with {name}", found["revision"]) for name, found in engine.items()]
            + [(f"{name} with {count}", found["revision"]) for (name, count), found in scaling.items()]
        ),
        _machines([*engine.values(), *scaling.values()]),
    ]
    path = written.write("cluster", rows, "\n\n".join(filter(None, parts)), to)
    plot.draw({key: found["efficiency"] for key, found in scaling.items()}, to / "cluster.png")
    return rows, path


def provenance(workers: int, found: Mapping[str, Any]) -> str:
    """Say whether the machine had a core for each worker."""
    return "measured" if workers <= found["machine"]["cores"] else "simulated"


def _rows(engine: Mapping[str, Any], scaling: Mapping[tuple[str, int], Any], command: str) -> list[Row]:
    rows = []
    for name, found in engine.items():
        title = OVERHEAD if name == "journal" else f"engine, a trial, {name}"
        protocol = f"{TRIALS} trials, {1e3 * PAUSE_S:g} ms each, plans given, mean"
        target = "<= 5" if name == "journal" else None
        rows.append(
            Row.summarise(
                title,
                {SEED: found["mean_ms"]},
                "ms",
                target=target,
                protocol=protocol,
                provenance="measured",
                command=command,
            )
        )
    for (name, count), found in scaling.items():
        protocol = f"{found['trials']} trials that sleep {SECONDS:g} s on average, from when all workers had begun"
        rows.append(
            Row.summarise(
                EFFICIENCY.format(count, name),
                {SEED: found["efficiency"]},
                "share",
                target=">= 0.9" if count == max(WORKERS) else None,
                protocol=protocol,
                provenance=provenance(count, found),
                command=command,
            )
        )
    return rows


def _engine(name: str, found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return [name, *["not run"] * 5, ""]
    figures = [f"{found[f'{key}_ms']:.2f} ms" for key in ("ask", "tell", "median", "mean", "p95")]
    return [name, *figures, "mean at most 5 ms" if name == "journal" else ""]


def _scaling(name: str, scaling: Mapping[tuple[str, int], Any]) -> str:
    lines = []
    for count in WORKERS:
        found = scaling.get((name, count))
        if found is None:
            lines.append([str(count), *["not run"] * 5])
            continue
        lines.append(
            [
                str(count),
                f"{100 * found['efficiency']:.1f} %",
                f"{found['trials']}",
                f"{found['startup_s']:.1f} s",
                f"{found['makespan_s']:.1f} s",
                provenance(count, found),
            ]
        )
    return markdown_table(["workers", "efficiency", "trials", "start-up", "whole search", ""], lines)


def _machines(found: list[Mapping[str, Any]]) -> str:
    told = sorted({f"{one['machine']['cpu']}, {one['machine']['cores']} cores" for one in found})
    return f"Machine: {'; '.join(told)}. {versions(found[0]['machine']) if found else ''}. Seed {SEED}."
