"""What a study leaves, ``runs/RECIPE-scaling/outcome.json``, and ``retrain.batch_size=auto``, which reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gatesearch.errors import UserError
from gatesearch.recipe import Recipe

RUNS = Path("runs")
OUTCOME = "outcome.json"
STUDIED = ("data", "frontend", "augment", "backbone", "backbone_args")


def folder_of(recipe: Recipe) -> Path:
    """Return where the study of a recipe lies."""
    return RUNS / f"{recipe.name or 'run'}-scaling"


def studied(recipe: Recipe) -> dict[str, Any]:
    """Return what of a recipe a study depends on, as JSON has it: a batch size holds for nothing else."""
    kept = {key: recipe.model_dump(mode="json")[key] for key in STUDIED}
    kept["training.label_smoothing"] = recipe.training.label_smoothing
    plain: dict[str, Any] = json.loads(json.dumps(kept))
    return plain


def resolved(recipe: Recipe) -> Recipe:
    """Return the recipe with the studied batch size in the place of ``retrain.batch_size: auto``.

    Raises:
        UserError: there is no study of this recipe, or none that found a batch size.
    """
    if recipe.retrain.batch_size != "auto":
        return recipe
    path = folder_of(recipe) / OUTCOME
    where, command = "retrain.batch_size: auto", f"gatesearch scaling recipe={recipe.name}"
    if not path.is_file():
        raise UserError(f"{where} takes what a study found, and {path} is not there; run: {command}")
    outcome = json.loads(path.read_text())
    if changed := difference(outcome["studied"], studied(recipe)):
        raise UserError(f"{where}: {path} is of a recipe with another {changed}; move it away, then run: {command}")
    if outcome["batch_size"] is None:
        raise UserError(f"{where}: {path} names no batch size: fewer than three sizes reached the goal; set a number")
    retrain = recipe.retrain.model_copy(update={"batch_size": outcome["batch_size"]})
    return recipe.model_copy(update={"retrain": retrain})


def difference(kept: Mapping[str, Any], wanted: Mapping[str, Any]) -> str | None:
    """Return the first key in which two studies differ, None where they are alike."""
    return next((key for key in sorted({*kept, *wanted}) if kept.get(key) != wanted.get(key)), None)
