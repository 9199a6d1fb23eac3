"""What a recipe and a search space may say: one pydantic model for each group of keys.

Attributes are named exactly as the keys. Each field carries its meaning, range and default: ``gatesearch show
--help-keys``, the JSON Schema and docs/recipes.md are made from them. All is checked that can be checked without data,
device or backbone at hand.
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
