"""Compares TPE and GateSampler in real searches, which train their plans: CPU time and hypervolume by seed."""

from __future__ import annotations

import json
import re
import shutil
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gatesearch._lib import console
from gatesearch._lib.timing import fingerprint
from gatesearch.pipeline.pricing import build_cost_model
from gatesearch.pipeline.problem import load_problem
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.pipeline.search import search
from gatesearch.pipeline.training import train_baseline
from gatesearch.recipe import Recipe, load, to_yaml
from gatesearch.report.rows import markdown_table
from gatesearch.search.evaluation import Objectives
from results.benchmark import resume

RECIPE = "kws_clips.yaml"
RECIPE_CHANGES = (  # a small version of the recipe, so that a search takes minutes
    "device=three_core",
    "data.clips_per_class=100",
    "augment.renditions=2",
    "training.epochs=15",
    "training.averaging=0",
    "search.learning_rate=0.002",
    "search.trials=20",
)
TPE = "search.sampler=tpe"
CONDITIONS: Mapping[str, tuple[str, ...]] = {"before: TPE": (TPE,), "after: GateSampler": ()}
RECORD_FILE = "runs.json"
# The reference point of the hypervolume: the accuracy without gates minus ACCURACY_DROP, and each cost without gates
# times COST_FACTOR.
ACCURACY_DROP, COST_FACTOR = 0.05, 1.1
SHARED_FILES = ("baseline.ckpt", "table.json")
PLAN_COUNTS = (5, 10)  # numbers of fully trained plans after which the page shows the hypervolume


def record(folder: Path, seeds: Sequence[int], path: Path, command: str) -> None:
    """Search under each condition with each seed, and write the figures of every search to a file.

    The conditions take turns, so that a change in the machine's load affects both of them.

    Args:
        folder: folder of the runs; a finished search is not repeated.
        seeds: values of the recipe's ``seed``.
        path: the file for the figures; it is written after each search.
        command: the command line of the benchmark, to store in the file.
    """
    searches: dict[str, Any] = {"command": command, "machine": fingerprint(), "rows": []}
    with console.progress(len(seeds) * len(CONDITIONS), "searches") as bar:
        for seed in seeds:
            for condition, changes in CONDITIONS.items():
                run = folder / f"{re.sub('[^a-zA-Z]+', '-', condition)}-{seed}"
                recipe = load(RECIPE, [*RECIPE_CHANGES, f"seed={seed}", *changes])
                shared = folder / f"shared-{seed}"
                row = resume(RunFolder(run), "row.json", lambda r=run, c=recipe, s=shared: _search(r, c, s))  # type: ignore[misc]
                searches["rows"].append({"way": condition, "seed": seed, **row})
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(searches, indent=1) + "\n")
                bar.advance(note=condition)


def build_section(path: Path) -> Mapping[str, object] | None:
    """Return the template's values for the section on real searches; None if the file of figures does not exist."""
    if not path.exists():
        return None
    record: Mapping[str, Any] = json.loads(path.read_text())
    rows = record["rows"]
    seeds = sorted({row["seed"] for row in rows})
    best = {seed: max(row["hypervolume"][-1] for row in rows if row["seed"] == seed) for seed in seeds}
    lines = [_line(condition, rows, best) for condition in CONDITIONS]
    counts = [f"hypervolume after {n}" for n in PLAN_COUNTS]
    heads = ["search", "CPU s", *counts, "at the end", "median", "on the front"]
    return {
        "recipe": RECIPE,
        "command": record["command"],
        "table": markdown_table(heads, [line for line in lines if line]),
        "seeds": ", ".join(map(str, seeds)),
        "changes": " ".join(RECIPE_CHANGES),
        "tpe": TPE,
        "drop": f"{ACCURACY_DROP:g}",
    }


def _search(path: Path, recipe: Recipe, shared: Path) -> dict[str, Any]:
    """Run one search and return its figures; all conditions of a seed share a baseline and a latency table."""
    shutil.rmtree(path)
    folder = RunFolder(path)
    folder.write("recipe.yaml", to_yaml(recipe))
    for name in SHARED_FILES:
        if (shared / name).exists():
            shutil.copy(shared / name, folder / name)
    problem = load_problem(recipe)
    baseline = train_baseline(problem, folder)
    cost = build_cost_model(problem, baseline.backbone, folder)
    for name in SHARED_FILES:
        shared.mkdir(exist_ok=True)
        shutil.copy(folder / name, shared / name)
    ungated = cost.ungated()[1]
    reference_point = Objectives(
        baseline.quality - ACCURACY_DROP,
        COST_FACTOR * ungated.expected_latency_us,
        COST_FACTOR * ungated.energy.total_uj,
    )
    cpu, wall = time.process_time(), time.monotonic()
    result = search(problem, baseline, cost, folder)
    return {
        "cpu_s": round(time.process_time() - cpu, 1),
        "wall_s": round(time.monotonic() - wall, 1),
        "hypervolume": result.hypervolume(reference_point),
        "tried": len(result.trained),
        "front": len(result.front),
    }


def _line(condition: str, rows: Sequence[Mapping[str, Any]], best: Mapping[int, float]) -> list[str]:
    """Return a condition's line of the table, with a value for each seed in a cell; empty if no search is stored."""
    own = [row for row in rows if row["way"] == condition]
    if not own:
        return []
    shares = [[volume / best[row["seed"]] for volume in row["hypervolume"]] for row in own]
    return [
        condition,
        " / ".join(f"{row['cpu_s']:.0f}" for row in own),
        *(" / ".join(f"{share[min(n, len(share)) - 1]:.3f}" for share in shares) for n in PLAN_COUNTS),
        " / ".join(f"{share[-1]:.3f}" for share in shares),
        f"{statistics.median(share[-1] for share in shares):.3f}",
        " / ".join(str(row["front"]) for row in own),
    ]
