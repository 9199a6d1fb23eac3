"""What benchmarks of whole runs share: arguments, one resumable run a seed, and figures of what a gate stops."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gatesearch._lib import console
from gatesearch.bench import command_line
from gatesearch.bench.results import spread
from gatesearch.errors import UserError
from gatesearch.pipeline import run
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.pipeline.steps import Run
from gatesearch.recipe import Recipe, to_yaml
from gatesearch.training import Quality

SPEECH_PROTOCOL = {
    True: "synthetic speech",
    False: "Speech Commands v0.02 12-class test set, speaker-disjoint split",
}


def arguments(bench: str, written: Sequence[str], seeds: tuple[int, ...]) -> tuple[tuple[int, ...], list[str]]:
    """Split a benchmark's arguments into seeds and what is to be changed in its recipe.

    Args:
        bench: its name, for errors.
        written: ``key=value`` each; ``seeds=0,1`` is for the benchmark.
        seeds: where none are written.

    Raises:
        UserError: seeds that are no whole numbers.

    >>> arguments("kws", ["seeds=0,2", "data.root=words"], (0,))
    ((0, 2), ['data.root=words'])
    """
    overrides = []
    for text in written:
        if not text.startswith("seeds="):
            overrides.append(text)
            continue
        seeds = command_line.seeds(f"bench {bench}", text.removeprefix("seeds="))
    return seeds, overrides


def finished(path: Path, recipe: Recipe) -> Run:
    """Return a run of a recipe that has gone to its end, now or before; artifacts and model agree as they do.

    Raises:
        UserError: the folder holds a run of another recipe, or something that the user can mend kept it from ending.
    """
    folder = RunFolder(path)
    kept = folder / "recipe.yaml"
    if kept.exists() and kept.read_text() != to_yaml(recipe):
        raise UserError(f"{folder.path}: holds a run of another recipe; move it away or delete it")
    folder.write("recipe.yaml", to_yaml(recipe))
    console.say(f"--- {path.name}")
    if folder.read_json("summary.json") is None:
        try:
            run.run(recipe, resume=folder.path)
        except UserError as error:
            if folder.read_json("summary.json") is None:
                raise
            console.say(f"{path.name}: {error}")  # the agreement goes into the table as it is
    return Run(recipe, folder)


def public(text: str) -> str:
    """Leave the user's own paths out of what is published."""
    return "data.root=SPEECH_COMMANDS" if text.startswith("data.root=") else text


def first_stop(quality: Quality, kind: str) -> float:
    """Return the share of a kind that the first gate stops."""
    row = quality.passed.get(kind, (1.0,))
    return 1 - row[1] if len(row) > 1 else 0.0


def stopped(quality: Quality, kind: str) -> float:
    """Return the share of a kind that some gate stops."""
    return 1 - quality.passed.get(kind, (1.0,))[-1]


def percent(outcomes: Sequence[Any], get: Callable[[Any], float]) -> str:
    """Return a share over outcomes as text: median and range, in percent."""
    return spread([100 * get(o) for o in outcomes]) if outcomes else "not run"


def versions(stamp: Mapping[str, Any]) -> str:
    """Return the versions of a machine's fingerprint as text."""
    found = {"python": stamp.get("python"), **(stamp.get("versions") or {})}
    return ", ".join(f"{name} {version}" for name, version in found.items() if version)
