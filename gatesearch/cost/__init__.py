"""Prices plans on a device: time, energy and memory, each with its provenance."""
