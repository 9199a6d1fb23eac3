"""The base class of the pydantic models that describe gatesearch's files, such as summary.json."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """A group of keys in a file; it refuses keys that it does not describe, so that a test detects them."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
