"""The schema of a whole recipe: all groups of keys, and the rules that hold across groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from gatesearch.recipe.errors import describe_unknown, invalid
from gatesearch.recipe.schema.choice import Battery, Constraints, Cost, Pick
from gatesearch.recipe.schema.data import Augment, Data, Frontend, Speech, Stream
from gatesearch.recipe.schema.export import Export, Verify
from gatesearch.recipe.schema.group import Group
from gatesearch.recipe.schema.search import Search
from gatesearch.recipe.schema.space import SearchSpace
from gatesearch.recipe.schema.training import Gates, Retrain, Training
from gatesearch.recipe.schema.values import MAX_NATURAL, FolderName, PlainMapping, Text, module_or_plugin

# Bounds that a goal sets where the recipe writes none. These goals have no accuracy.
DEFAULT_BOUNDS: Mapping[str, Mapping[str, float | None]] = {
    "detection": {"max_accuracy_drop": None, "max_miss_rise": 0.05},
    "reconstruction": {"max_accuracy_drop": None},
}


class Recipe(Group):
    """A recipe: all settings of a run, from the data to the export."""

    name: FolderName | None = Field(
        default=None, description="Name of the run's folder and report; null takes the file's name without its suffix."
    )
    seed: Annotated[int, Field(ge=0, le=MAX_NATURAL)] = Field(
        default=0, description="Seed of all trainings and of the search; the same seed gives the same run."
    )
    title: str = Field(default="", description="Heading of the report.")
    goal: Literal["classification", "detection", "reconstruction"] = Field(
        default="classification",
        description="Task of the network: to name the class of a window, to report events of a stream, or to "
        "reconstruct its input.",
    )
    data: Data = Field(description="The recordings and their classes.")
    frontend: Frontend = Field(
        default=Frontend(name="identity"),
        description="The front end, which turns raw windows into the backbone's input.",
    )
    augment: Augment | None = Field(
        default=None, description="Augmentation of training windows; null for none, {} for all defaults."
    )
    stream: Stream = Field(description="The stream that the device reads in use; prices are expectations over it.")
    backbone: Annotated[Text, module_or_plugin("gatesearch.backbones", "backbone")] = Field(
        description="The network: an entry point of group gatesearch.backbones, or package.module:Class."
    )
    backbone_args: PlainMapping = Field(
        default={}, description="Keyword arguments of the backbone; an override of backbone removes them."
    )
    training: Training = Field(
        default=Training(),
        description="The training of the baseline. All other trainings use these keys, unless a group of their own "
        "changes one.",
    )
    gates: Gates = Field(default=Gates(), description="Settings of the training of gates, for all gate kinds.")
    space: SearchSpace = Field(description="The plans to search: a file of search_spaces/, or its keys in the recipe.")
    search: Search = Field(default=Search(), description="How plans are proposed and tried.")
    device: Text = Field(
        description="Device profile: a name that `gatesearch devices` lists, or the path of a YAML file."
    )
    battery: Battery | None = Field(
        default=None,
        description="The battery of the device, for goal detection: the report says for how many days it lasts; null "
        "for none.",
    )
    cost: Cost = Field(
        default=Cost(),
        description="Settings of the timings on the machine of the run, by which the cost model prices blocks.",
    )
    constraints: Constraints = Field(default=Constraints(), description="Bounds that the best plan has to keep.")
    pick: Pick = Field(default=Pick(), description="The rule by which the best plan is picked.")
    retrain: Retrain = Field(default=Retrain(), description="The training of the picked plan.")
    export: Export = Field(default=Export(), description="The files that a bundle contains for its cores.")
    verify: Verify = Field(default=Verify(), description="The smallest agreement of a bundle with the model.")

    @model_validator(mode="before")
    @classmethod
    def _defaults_fit_the_goal(cls, tree: Any) -> Any:
        """Take the default bounds of the goal; a bound that the recipe writes stays."""
        goal = tree.get("goal") if isinstance(tree, Mapping) else None
        constraints = tree.get("constraints", {}) if isinstance(tree, Mapping) else None
        if not isinstance(goal, str) or goal not in DEFAULT_BOUNDS or not isinstance(constraints, Mapping):
            return tree
        return {**tree, "constraints": {**DEFAULT_BOUNDS[goal], **constraints}}

    @model_validator(mode="after")
    def _shares_are_complete(self) -> Recipe:
        """Check that each class has a share and that the shares add up to 1."""
        shares, expected = self.stream.shares, ["positive"]
        if self.goal == "detection":
            if shares is not None:
                raise invalid(
                    "goal detection measures the shares on the validation stream; leave them out", "stream.shares"
                )
            return self
        if shares is None:
            raise invalid(
                "no shares of the stream; wanted: shares that add up to 1 (goal detection measures them on its scenes)",
                "stream.shares",
                "goal",
            )
        if isinstance(self.data, Speech):
            expected += self.data.negatives
            for name in shares:
                if name not in expected:
                    raise invalid(describe_unknown("class", name, expected), f"stream.shares.{name}")
        for name in expected:
            if name not in shares:
                raise invalid(f"no share for {name!r}", "stream.shares", "data.negatives")
        if abs(sum(shares.values()) - 1) > 1e-6:
            raise invalid(f"the shares add up to {sum(shares.values()):.6g}, not 1", "stream.shares")
        return self
