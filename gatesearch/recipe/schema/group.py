"""Base classes of key groups: one with fixed keys, and one that passes further keys to a plug-in."""

# This module does not postpone annotations. If it did, pydantic would evaluate the annotation of the extra keys in the
# module of each subclass, where the names in it may be missing.
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from gatesearch.recipe.schema.values import Plain, Text


class Group(BaseModel):
    """A frozen group of keys, which refuses unknown keys and converts no types (``"3"`` is not an integer)."""

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
