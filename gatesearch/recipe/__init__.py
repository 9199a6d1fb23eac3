"""Loads recipes: the YAML file and the overrides that say what a run does, as a :class:`Recipe`."""

from gatesearch.recipe.file_lookup import available, find
from gatesearch.recipe.load import build_recipe, load, load_run, load_space, to_yaml
from gatesearch.recipe.schema import Recipe
from gatesearch.recipe.schema.values import make_folder_name
from gatesearch.recipe.trust import mark_run

__all__ = [
    "Recipe",
    "available",
    "build_recipe",
    "find",
    "load",
    "load_run",
    "load_space",
    "make_folder_name",
    "mark_run",
    "to_yaml",
]
