"""Describes the files that gatesearch reads and writes, as models and JSON Schemas for programs."""
