"""The two kinds of group: one with keys of its own alone, and one that passes further keys on to a plug-in."""

# Annotations are not postponed here: pydantic reads that of the extra keys again in the module of each subclass.
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from gatesearch.recipe.schema.values import Plain, Text


class Group(BaseModel):
    """A group of keys: closed, strict (``"3"`` is no integer, nor is ``true``) and frozen."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class OpenGroup(BaseModel):
    """A group with a ``name``; all its other keys go to the plug-in of that name."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True, allow_inf_nan=False)
    __pydantic_extra__: dict[str, Plain] = Field(init=False)

    name: Text = Field(description="Name of the plug-in; all other keys of the group are its arguments.")

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments that the plug-in is called with."""
        return self.model_dump(exclude={"name"})
