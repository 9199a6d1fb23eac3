"""Describes the files that gatesearch reads and writes, by pydantic models and JSON Schemas."""
