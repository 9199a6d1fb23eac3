"""Extends a run by more trials: its recipe asks for them, and its origin and its record say so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gatesearch.errors import UserError
from gatesearch.pipeline.origin import EXTENSIONS, ORIGIN_FILE
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.recipe import Recipe, mark_run, to_yaml


def extend_recipe(recipe: Recipe, trials: int | None) -> Recipe:
    """Return the recipe of a run with a larger number of trials; None leaves it as it is.

    Raises:
        UserError: the run has more trials already.
    """
    if trials is None:
        return recipe
    if trials < recipe.search.trials:
        raise UserError(f"search.trials={trials}: the run has {recipe.search.trials} trials already; wanted: more")
    return recipe.model_copy(update={"search": recipe.search.model_copy(update={"trials": trials})})


def store_extension(recipe: Recipe, extended: Recipe, folder: RunFolder) -> None:
    """Write the extended recipe into the folder of a run; the caller holds the folder's lock.

    A kill between two writes leaves a run that goes on with the old recipe or with the extended one.
    """
    origin = folder.load(ORIGIN_FILE, json.loads, "it is written again, without extensions")
    if origin is not None:  # a run without an origin has not loaded its data yet, so it has no results to extend
        entry = {"earlier": recipe.search.trials, "trials": extended.search.trials}
        folder.write_json(ORIGIN_FILE, origin | {EXTENSIONS: [*_list_valid(origin, recipe), entry]})
    text = to_yaml(extended)
    mark_run(folder.path, extended, text)
    folder.write("recipe.yaml", text)
    mark_run(folder.path, extended)


def list_extensions(recipe: Recipe, folder: RunFolder) -> list[dict[str, int]]:
    """Return the extensions of a run in order, each with the ``earlier`` number of trials and the new ``trials``."""
    return _list_valid(folder.load(ORIGIN_FILE, json.loads, "extensions of the run are lost") or {}, recipe)


def _list_valid(origin: Mapping[str, Any], recipe: Recipe) -> list[dict[str, int]]:
    """Return the extensions that led to a recipe; a kill may leave one that the recipe does not have yet."""
    return [each for each in origin.get(EXTENSIONS, ()) if each["trials"] <= recipe.search.trials]
