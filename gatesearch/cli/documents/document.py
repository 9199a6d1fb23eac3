"""The base class of the documents that describe files."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """A group of keys of a written file: closed, so that a key that is not described fails the test of the schema."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
