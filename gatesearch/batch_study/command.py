"""The command `gatesearch scaling`: runs a batch-size study and writes its results."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gatesearch._lib import console
from gatesearch._lib.files import write_whole
from gatesearch._lib.plugins import need
from gatesearch._lib.timing import fingerprint
from gatesearch.batch_study import page
from gatesearch.batch_study.auto_batch import OUTCOME_FILE, first_difference, studied_keys, study_folder
from gatesearch.batch_study.backbone import BackboneTraining
from gatesearch.batch_study.outcome import build_outcome
from gatesearch.batch_study.settings import WHERE, Settings
from gatesearch.batch_study.study import Study
from gatesearch.errors import UserError
from gatesearch.pipeline.problem import load_problem
from gatesearch.recipe import Recipe

TRIALS_FILE, SETTINGS_FILE = "trials.jsonl", "settings.json"


def run(recipe: Recipe, settings: Settings, words: Sequence[str]) -> Path:
    """Run the batch-size study of a recipe, or continue one that was stopped; return the path of the page.

    Args:
        recipe: a checked recipe.
        settings: the settings of the study.
        words: the command line, for the page.

    Raises:
        UserError: the folder holds a study with other settings, the training split is too small, every trial of the
            pilot (the first trials) diverges, or a package is missing.
    """
    need("gatesearch scaling", "jinja2", "matplotlib")  # fails before the first training, not after the last
    folder = study_folder(recipe)
    folder.mkdir(parents=True, exist_ok=True)
    _claim_folder(folder, recipe, settings)
    console.say(f"{WHERE}: {folder}; the same command goes on where it was stopped")
    problem = load_problem(recipe)
    training = BackboneTraining(problem, settings.ghost_size, settings.micro_batch)
    epochs = settings.epochs or recipe.training.epochs
    study = Study(training, settings, folder / TRIALS_FILE, epochs=epochs, seed=recipe.seed)
    skipped = [str(size) for size in settings.batch_sizes if size not in study.batch_sizes]
    if skipped:
        console.say(f"skipped, larger than the training split of {training.samples:,}: {', '.join(skipped)}")
    pilot, studies = study.run()
    data = {
        "source": problem.data.source,
        "train": training.samples,
        "validation": len(problem.data.validation),
    }
    outcome = {
        "recipe": recipe.name or "run",
        "studied": studied_keys(recipe),
        "command": shlex.join(["gatesearch", "scaling", *map(_hide_data_root, words)]),
        "seed": recipe.seed,
        "epochs": epochs,
        "settings": settings.model_dump(),
        "ghost": settings.ghost_size if training.has_batch_norm else None,
        "data": data,
        **build_outcome(pilot, studies, recipe.seed),
        "seconds": sum(entry.seconds for entry in study.journal.entries.values()),
        "machine": fingerprint(),
    }
    _write_json(folder / OUTCOME_FILE, outcome)
    _print_outcome(outcome)
    path = page.write_page()
    console.say(f"wrote {path}")
    return path


def _print_outcome(outcome: Mapping[str, Any]) -> None:
    columns = ("batch", "steps", "5 to 95 %", "samples", "slope", "regime")
    rows = [[row[k] for k in (0, 1, 2, 4, 5, 6)] for row in page.build_steps_table(outcome)]
    console.table(f"steps to a validation error of {outcome['goal']:.4g}", columns, rows)
    for line in page.summarise(outcome):
        console.say(line)


def _claim_folder(folder: Path, recipe: Recipe, settings: Settings) -> None:
    """Record the keys on which the trials in a folder depend; refuse a folder whose trials had other values of them."""
    path = folder / SETTINGS_FILE
    # Only the keys on which trials depend are compared, so that another analysis can use the same trials.
    budget = {"seed": recipe.seed, "training.epochs": recipe.training.epochs}
    inputs = json.loads(json.dumps({**settings.model_dump(), **studied_keys(recipe), **budget}))
    if not (folder / TRIALS_FILE).exists():
        _write_json(path, inputs)
        return
    recorded = json.loads(path.read_text())
    if key := first_difference(recorded, inputs):
        raise UserError(
            f"{folder}: holds a study with {key} {recorded.get(key)}, not {inputs.get(key)}; move it away or delete it"
        )


def _write_json(path: Path, value: object) -> None:
    write_whole(path, json.dumps(value, indent=1, allow_nan=False))


def _hide_data_root(word: str) -> str:
    """Replace the user's own path in a word of the command line, because the page shows the command line."""
    return "data.root=DATA" if word.startswith("data.root=") else word
