"""Recipe keys on the search space: how many gates, at which sites, of which kinds, on which cores."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from gatesearch.recipe.errors import describe_unknown, invalid
from gatesearch.recipe.schema import values
from gatesearch.recipe.schema.group import Group
from gatesearch.recipe.schema.values import AllOrNames, Choices, Natural, ShareBelowOne, Text


class GateCount(Group):
    """How many gates a plan may have at cut sites."""

    min: Natural = Field(default=0, description="Fewest gates of a plan at cut sites.")
    max: Natural = Field(
        default=3, description="Most gates of a plan at cut sites; the number of plans grows fast with it."
    )

    @model_validator(mode="after")
    def _is_a_range(self) -> GateCount:
        if self.min > self.max:
            raise invalid(f"at least {self.min} and at most {self.max} gates cannot be", "min", "max")
        return self


class LayerSites(Group):
    """The layers that may have a gate of their own, and whether all of them get the same gate."""

    sites: AllOrNames = Field(
        default="all",
        description="Layers that may have a gate, as `gatesearch sites` prints them, or all; only kinds for layers, "
        "such as pg or fbs, use them.",
    )
    together: bool = Field(
        default=False,
        description="true: all these layers get the same gate, which makes the space small; false: each layer gets a "
        "gate of its own.",
    )


class SearchSpace(Group):
    """The plans that a search may propose."""

    gates: GateCount = Field(default=GateCount(), description="How many gates a plan may have at cut sites.")
    min_work: ShareBelowOne = Field(
        default=0.05,
        description="Smallest share of the backbone's MACs that lies between two neighbouring cut sites, and behind "
        "the last one. A larger share leaves fewer sites.",
    )
    sites: AllOrNames = Field(
        default="all", description="Cut sites that may have a gate, as `gatesearch sites` prints them, or all."
    )
    kinds: Annotated[dict[Text, dict[Text, Choices]], Field(min_length=1)] = Field(
        description="Gate kinds (entry points of group gatesearch.gates), each with the values that a search may "
        "choose for its parameters; numbers in order from the strongest gating to the gentlest."
    )
    layers: LayerSites = Field(default=LayerSites(), description="Layers that may have a gate of their own.")
    cores: AllOrNames = Field(
        default="all",
        description="Cores of the device that may run a stage, or all; a stage never runs on an earlier core than "
        "the stage before it.",
    )

    @model_validator(mode="after")
    def _kinds_exist(self) -> SearchSpace:
        names = values.plugin_names("gatesearch.gates")
        for kind in self.kinds:
            if names and kind not in names:
                raise invalid(describe_unknown("gate kind", kind, names), f"kinds.{kind}")
        return self
