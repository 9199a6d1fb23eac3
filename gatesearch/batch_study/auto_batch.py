"""Replaces ``retrain.batch_size: auto`` by the result of the recipe's batch-size study."""

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
    """Return the folder of a recipe's batch-size study, ``runs/RECIPE-scaling``."""
    return RUNS / f"{recipe.name or 'run'}-scaling"


def studied_keys(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe's keys on which the result of a batch-size study depends, with their values as JSON types."""
    settings = recipe.model_dump(mode="json")
    keys = {key: settings[key] for key in STUDIED_KEYS}
    keys["training.label_smoothing"] = recipe.training.label_smoothing
    json_keys: dict[str, Any] = json.loads(json.dumps(keys))
    return json_keys


def resolve_batch_size(recipe: Recipe) -> Recipe:
    """Return the recipe with the batch size of its study in place of ``retrain.batch_size: auto``.

    Raises:
        UserError: the recipe has no batch-size study, the study was made with another value of one of its keys, or the
            study names no batch size.
    """
    if recipe.retrain.batch_size != "auto":
        return recipe
    path = study_folder(recipe) / OUTCOME_FILE
    key, command = "retrain.batch_size: auto", f"gatesearch scaling recipe={recipe.name}"
    if not path.is_file():
        raise UserError(f"{key} takes the batch size of a study, and {path} does not exist; run: {command}")
    outcome = json.loads(path.read_text())
    if changed_key := first_difference(outcome["studied"], studied_keys(recipe)):
        raise UserError(f"{key}: {path} is of a recipe with another {changed_key}; move it away, then run: {command}")
    if outcome["batch_size"] is None:
        raise UserError(f"{key}: {path} names no batch size: fewer than three sizes reached the goal; set a number")
    retrain = recipe.retrain.model_copy(update={"batch_size": outcome["batch_size"]})
    return recipe.model_copy(update={"retrain": retrain})


def first_difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """Return the first key, in alphabetical order, whose values differ in two mappings; None if they are equal."""
    return next((key for key in sorted({*one, *other}) if one.get(key) != other.get(key)), None)
