"""The schema of recipes and search spaces: one pydantic model for each group of keys.

Attributes have the names of the keys. Each field holds its meaning, range and default; ``gatesearch show --help-keys``,
the JSON Schema and docs/recipes.md are made from them. The models check everything that does not need the data, the
device or the backbone.
"""

from gatesearch.recipe.schema.choice import Constraints, Cost, Pick
from gatesearch.recipe.schema.data import Augment, Data, Frontend, PluginData, Speech, Stream
from gatesearch.recipe.schema.export import Export, Verify
from gatesearch.recipe.schema.group import Group, OpenGroup
from gatesearch.recipe.schema.recipe import Recipe
from gatesearch.recipe.schema.search import Executor, Search
from gatesearch.recipe.schema.space import GateCount, LayerSites, SearchSpace
from gatesearch.recipe.schema.training import Gates, Retrain, Training

__all__ = [
    "Augment",
    "Constraints",
    "Cost",
    "Data",
    "Executor",
    "Export",
    "Frontend",
    "GateCount",
    "Gates",
    "Group",
    "LayerSites",
    "OpenGroup",
    "Pick",
    "PluginData",
    "Recipe",
    "Retrain",
    "Search",
    "SearchSpace",
    "Speech",
    "Stream",
    "Training",
    "Verify",
]
