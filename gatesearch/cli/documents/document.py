"""The base class of the documents that describe files."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """A group of keys in a written file; it refuses keys that are not described, so that a test finds them."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
