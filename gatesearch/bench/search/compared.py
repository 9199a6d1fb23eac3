"""Whole runs of one recipe and seed beside each other, by what their searches had after so many trials."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gatesearch.bench.results import markdown_table
from gatesearch.errors import UserError
from gatesearch.search import engine
from gatesearch.search.outcome import Objectives

AT = (5, 10, 20, 30, 40)  # trained or priced-anew trials
FILE = "runs.json"
DROP, ABOVE = 0.05, 1.1  # how far below the ungated accuracy, and above the ungated costs, volume counts


def note(folders: Mapping[str, Path], path: Path) -> None:
    """Write down the hypervolume after each trial of run folders, by label.

    Raises:
        UserError: a folder holds no search that began without gates.
    """
    found: dict[str, dict[str, Any]] = {}
    for label, folder in folders.items():
        result = engine.read(folder / "study.journal") if (folder / "study.journal").exists() else None
        ungated = next((t for t in result.complete if not t.plan.gates), None) if result else None
        if result is None or ungated is None or ungated.objectives is None:
            raise UserError(f"bench search: runs={label}:{folder}: holds no search with a trial without gates")
        accuracy, latency, energy = ungated.objectives
        corner = Objectives(accuracy - DROP, ABOVE * latency, ABOVE * energy)
        found[label] = {
            "hypervolume": result.hypervolume(corner),
            "corner": corner,
            "complete": len(result.complete),
            "repeats": sum(trial.state == "duplicate" for trial in result.trials),
            "trainings": len({trial.plan.gates for trial in result.complete}),
            "front": len(result.front),
        }
    shared: Objectives = next(iter(found.values()))["corner"]
    for label, folder in folders.items():  # all up to the first's corner
        found[label]["hypervolume"] = engine.read(folder / "study.journal").hypervolume(shared)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")


def section(path: Path) -> str:
    """Return the runs that were written down as a part of the page; nothing where there are none."""
    if not path.exists():
        return ""
    found: Mapping[str, Any] = json.loads(path.read_text())
    best = max(run["hypervolume"][-1] for run in found.values())
    lines = [
        [
            label,
            *(f"{_at(run['hypervolume'], n) / best:.3f}" for n in AT),
            *(str(run[key]) for key in ("complete", "trainings", "repeats", "front")),
        ]
        for label, run in found.items()
    ]
    heads = [
        "run",
        *(f"hypervolume after {n}" for n in AT),
        "plans",
        "combinations of gates",
        "repeats",
        "on the front",
    ]
    return f"""## Runs of kws.yaml, seed 0, before and after

{markdown_table(heads, lines)}

Searches of whole runs on synthetic speech, **measured**; hypervolume of the plans that keep the recipe's constraints,
up to {DROP:g} below the accuracy without gates and a tenth above its costs, as a share of the best of the table. One
seed; gates are trained from another random state in each, since cores no longer enter it. The runs were not timed
side by side: a training takes the same time in both, and gates that were trained are not trained again for other
cores."""


def _at(curve: Sequence[float], trials: int) -> float:
    return curve[min(trials, len(curve)) - 1]
