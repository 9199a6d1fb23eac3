"""The batch size of ``retrain.batch_size=auto``: read from the study of the recipe, ``runs/RECIPE-scaling``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gatesearch.errors import UserError
from gatesearch.recipe import Recipe

RUNS = Path("runs")
OUTCOME_FILE = "outcome.json"
STUDIED_KEYS = ("data", "frontend", "augment", "backbone", "backbone_args")


def study_folder(recipe: Recipe) -> Path:
    """Return the folder of the study of a recipe."""
    return RUNS / f"{recipe.name or 'run'}-scaling"


def studied_keys(recipe: Recipe) -> dict[str, Any]:
    """Return the keys of a recipe for which the batch size of a study holds, in the types of JSON."""
    tree = recipe.model_dump(mode="json")
    studied = {key: tree[key] for key in STUDIED_KEYS}
    studied["training.label_smoothing"] = recipe.training.label_smoothing
    plain: dict[str, Any] = json.loads(json.dumps(studied))
    return plain


def resolve_batch_size(recipe: Recipe) -> Recipe:
    """Return the recipe with the studied batch size in the place of ``retrain.batch_size: auto``.

    Raises:
        UserError: there is no study of this recipe, or none that found a batch size.
    """
    if recipe.retrain.batch_size != "auto":
        return recipe
    path = study_folder(recipe) / OUTCOME_FILE
    key, command = "retrain.batch_size: auto", f"gatesearch scaling recipe={recipe.name}"
    if not path.is_file():
        raise UserError(f"{key} takes the batch size of a study, and {path} does not exist; run: {command}")
    outcome = json.loads(path.read_text())
    if other := first_difference(outcome["studied"], studied_keys(recipe)):
        raise UserError(f"{key}: {path} is of a recipe with another {other}; move it away, then run: {command}")
    if outcome["batch_size"] is None:
        raise UserError(f"{key}: {path} names no batch size: fewer than three sizes reached the goal; set a number")
    retrain = recipe.retrain.model_copy(update={"batch_size": outcome["batch_size"]})
    return recipe.model_copy(update={"retrain": retrain})


def first_difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """Return the first key in which two trees differ, None where they are equal."""
    return next((key for key in sorted({*one, *other}) if one.get(key) != other.get(key)), None)
