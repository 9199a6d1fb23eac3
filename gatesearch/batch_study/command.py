"""`gatesearch scaling recipe=R [batches=8..4096 ...]`: study, outcome, pages."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from gatesearch._lib import console
from gatesearch._lib.timing import fingerprint
from gatesearch.batch_study import pages, record
from gatesearch.batch_study.network import Network
from gatesearch.batch_study.outcome import OUTCOME, difference, folder_of, studied
from gatesearch.batch_study.settings import WHERE, Settings
from gatesearch.batch_study.study import Study
from gatesearch.errors import UserError
from gatesearch.pipeline.problem import Setting
from gatesearch.recipe import Recipe

TRIALS = "trials.jsonl"


def run(recipe: Recipe, settings: Settings, written: Sequence[str]) -> Path:
    """Study the training of a recipe, or go on with a study that was stopped; returns the path of the page.

    Args:
        recipe: resolved.
        settings: how the study goes.
        written: the words of the command line, for the page.

    Raises:
        UserError: the folder holds a study by other settings, or none is possible.
    """
    folder = folder_of(recipe)
    folder.mkdir(parents=True, exist_ok=True)
    _keep(folder, recipe, settings)
    console.say(f"{WHERE}: {folder}; the same command goes on where it was stopped")
    setting = Setting.of(recipe)
    problem = Network(setting, settings.group, settings.at_once)
    epochs = settings.epochs or recipe.training.epochs
    study = Study(problem, settings, folder / TRIALS, epochs=epochs, seed=recipe.seed)
    if left_out := [str(size) for size in settings.sizes if size not in study.sizes]:
        console.say(f"left out, larger than the training split of {problem.samples:,}: {', '.join(left_out)}")
    pilot, studies = study.run()
    data = setting.data
    outcome = {
        "recipe": recipe.name or "run",
        "studied": studied(recipe),
        "command": shlex.join(["gatesearch", "scaling", *map(_public, written)]),
        "seed": recipe.seed,
        "epochs": epochs,
        "settings": settings.model_dump(),
        "ghost": settings.group if problem.normalises else None,
        "data": {"source": data.source, "train": problem.samples, "validation": len(data.validation)},
        **record.describe(pilot, studies, recipe.seed),
        "seconds": sum(entry.seconds for entry in study.journal.entries.values()),
        "machine": fingerprint(),
    }
    _write(folder / OUTCOME, outcome)
    columns = ("batch", "steps", "5 to 95 %", "samples", "slope", "regime")
    shown = [[row[k] for k in (0, 1, 2, 4, 5, 6)] for row in pages.table(outcome)]
    console.table(f"steps to a validation error of {pilot.goal:.4g}", columns, shown)
    for line in pages.summary(outcome):
        console.say(line)
    path = pages.write()
    console.say(f"wrote {path}")
    return path


def _keep(folder: Path, recipe: Recipe, settings: Settings) -> None:
    """Note what a folder's trials are of, and let no others in."""
    path = folder / "settings.json"
    # A further look at the outcome may cost no new trials: everything that a trial depends on is in here.
    budget = {"seed": recipe.seed, "training.epochs": recipe.training.epochs}
    wanted = json.loads(json.dumps({**settings.model_dump(), **studied(recipe), **budget}))
    if not (folder / TRIALS).exists():
        _write(path, wanted)
        return
    kept = json.loads(path.read_text())
    if key := difference(kept, wanted):
        raise UserError(
            f"{folder}: holds a study with {key} {kept.get(key)}, not {wanted.get(key)}; move it away or delete it"
        )


def _write(path: Path, value: object) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(value, indent=1, allow_nan=False))
    part.replace(path)


def _public(text: str) -> str:
    """Leave the user's own paths out of what is published."""
    return "data.root=DATA" if text.startswith("data.root=") else text
