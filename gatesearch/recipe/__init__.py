"""Recipes: what a run is told, from YAML and overrides to a checked :class:`Recipe`."""

from gatesearch.recipe.loader import Recipe, available, find, load, load_space, made, to_yaml

__all__ = ["Recipe", "available", "find", "load", "load_space", "made", "to_yaml"]
