"""Searches of one recipe as they were and as they are: what they cost and what they find, on the same seeds."""

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
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.pipeline.steps import Run
from gatesearch.recipe import Recipe, load, to_yaml
from gatesearch.report.rows import markdown_table
from gatesearch.search.evaluation import Objectives

RECIPE = "kws.yaml"
REDUCED = (
    "data.clips_per_class=100",
    "augment.renditions=2",
    "training.epochs=15",
    "training.averaging=0",
    "search.learning_rate=0.002",
    "search.trials=20",
)
WAYS: Mapping[str, tuple[str, ...]] = {
    "before: TPE": ("search.sampler=tpe",),
    "after: GateSampler": (),
    "after, with halving": ("search.halving={first: 1, reduction: 3}",),
}
FILE = "runs.json"
DROP, ABOVE = 0.05, 1.1  # how far below the ungated accuracy, and above the ungated costs, volume counts
SHARED = ("baseline.ckpt", "table.json")


def record(folder: Path, seeds: Sequence[int], path: Path, command: str) -> None:
    """Search each way with each seed, one after the other so that all meet the same load; write down what came of it.

    Args:
        folder: of the runs; a search that is there is not done again.
        seeds: of the recipe.
        path: where what is known is written, after each search.
        command: that was run.
    """
    known: dict[str, Any] = {"command": command, "machine": fingerprint(), "rows": []}
    with console.progress(len(seeds) * len(WAYS), "searches") as bar:
        for seed in seeds:
            for way, changes in WAYS.items():
                kept = RunFolder(folder / f"{re.sub('[^a-zA-Z]+', '-', way)}-{seed}")
                row = kept.read_json("row.json") or _searched(kept, _recipe(seed, changes), folder / f"shared-{seed}")
                kept.write_json("row.json", row)
                known["rows"].append({"way": way, "seed": seed, **row})
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(known, indent=1) + "\n")
                bar.advance(note=way)


def _recipe(seed: int, changes: Sequence[str]) -> Recipe:
    return load(RECIPE, [*REDUCED, f"seed={seed}", *changes])


def _searched(folder: RunFolder, recipe: Recipe, shared: Path) -> dict[str, Any]:
    """Search from a baseline and a table of costs that all ways share."""
    shutil.rmtree(folder.path)
    folder = RunFolder(folder.path)
    folder.write("recipe.yaml", to_yaml(recipe))
    for name in SHARED:
        if (shared / name).exists():
            shutil.copy(shared / name, folder / name)
    run = Run(recipe, folder)
    assert run.baseline and run.cost and run.saliency
    for name in SHARED:
        shared.mkdir(exist_ok=True)
        shutil.copy(folder / name, shared / name)
    rival = run.cost.ungated()[1]
    corner = Objectives(run.standard - DROP, ABOVE * rival.expected_latency_us, ABOVE * rival.energy.total_uj)
    started = time.process_time(), time.monotonic()
    result = run.result
    return {
        "cpu_s": round(time.process_time() - started[0], 1),
        "wall_s": round(time.monotonic() - started[1], 1),
        "hypervolume": result.hypervolume(corner),
        "epochs": result.epochs(recipe.search.epochs),
        "tried": len(result.tried),
        "given_up": len(result.tried) - len(result.complete),
        "front": len(result.front),
    }


def section(path: Path) -> str:
    """Return what was written down as a part of the page; nothing where there is nothing."""
    if not path.exists():
        return ""
    known: Mapping[str, Any] = json.loads(path.read_text())
    best = {seed: max(r["hypervolume"][-1] for r in known["rows"] if r["seed"] == seed) for seed in _seeds(known)}
    lines = []
    for way in WAYS:
        rows = [row for row in known["rows"] if row["way"] == way]
        shares = [[volume / best[row["seed"]] for volume in row["hypervolume"]] for row in rows]
        if rows:
            lines.append(
                [
                    way,
                    _each([f"{row['cpu_s']:.0f}" for row in rows]),
                    _each([str(row["epochs"]) for row in rows]),
                    _each([str(row["given_up"]) for row in rows]),
                    *(_each([f"{share[min(at, len(share)) - 1]:.3f}" for share in shares]) for at in (5, 10)),
                    _each([f"{share[-1]:.3f}" for share in shares]),
                    f"{statistics.median(share[-1] for share in shares):.3f}",
                    _each([str(row["front"]) for row in rows]),
                ]
            )
    heads = ["search", "CPU s", "epochs", "given up", "hypervolume after 5", "after 10", "at the end"]
    seeds = ", ".join(map(str, _seeds(known)))
    return f"""## `{RECIPE}`, before and after

    {known["command"]}

{markdown_table([*heads, "median", "on the front"], lines)}

Searches of real runs, **measured**, seeds {seeds}, a value a seed: `{RECIPE}` with `{" ".join(REDUCED)}` on synthetic
speech; *before*: `{WAYS["before: TPE"][0]}`; *after*: the recipe's defaults; and those with
`{WAYS["after, with halving"][0]}`. Baseline, table of costs and seed are shared, the searches ran in turn, way by way
and seed by seed. CPU seconds are of the search alone, in one process that shared the machine. Hypervolume is of the
plans that keep the recipe's constraints, up to {DROP:g} below the accuracy without gates and a tenth above its costs,
as a share of the best of that seed; *after 5* means five plans trained whole."""


def _seeds(known: Mapping[str, Any]) -> list[int]:
    return sorted({row["seed"] for row in known["rows"]})


def _each(values: Sequence[str]) -> str:
    return " / ".join(values)
