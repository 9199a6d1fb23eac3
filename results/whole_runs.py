"""Runs whole recipes for benchmarks, and returns the shares of windows that gates stop.

An interrupted run continues where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gatesearch._lib import console
from gatesearch.errors import UserError
from gatesearch.metrics import Quality
from gatesearch.pipeline import run as pipeline
from gatesearch.pipeline.result import RunResult
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.recipe import Recipe, to_yaml
from gatesearch.report.rows import median_and_range
from results.benchmark import NOT_RUN

SPEECH = {"data.root": "SPEECH_COMMANDS"}  # word that replaces the user's own path in published commands
SPEECH_PROTOCOL = {
    True: "synthetic speech",
    False: "Speech Commands v0.02 12-class test set, speaker-disjoint split",
}


def finish_run(path: Path, recipe: Recipe) -> RunResult:
    """Run a recipe to its end, or continue its run, or load its finished run.

    Raises:
        UserError: the folder holds a run of another recipe, or the run fails for a reason that the user can fix.
    """
    folder = RunFolder(path)
    written = folder / "recipe.yaml"
    if written.exists() and written.read_text() != to_yaml(recipe):
        raise UserError(f"{folder.path}: holds a run of another recipe; move it away or delete it")
    folder.write("recipe.yaml", to_yaml(recipe))
    console.say(f"--- {path.name}")
    until = "report" if folder.read_json("summary.json") is None else "export"
    return pipeline.resume(path, until)


def share_stopped_first(quality: Quality, kind: str) -> float:
    """Return, for one kind of window, the share that the first gate stops."""
    row = quality.passed.get(kind, (1.0,))
    return 1 - row[1] if len(row) > 1 else 0.0


def share_stopped(quality: Quality, kind: str) -> float:
    """Return, for one kind of window, the share that any of the gates stops."""
    return 1 - quality.passed.get(kind, (1.0,))[-1]


def percent(outcomes: Sequence[Any], get: Callable[[Any], float]) -> str:
    """Return the median and the range of a share over outcomes, in per cent, as words of a table."""
    return median_and_range([100 * get(outcome) for outcome in outcomes]) if outcomes else NOT_RUN
