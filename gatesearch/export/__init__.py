"""Turns a model into a bundle: a file for each stage and format, a manifest, and a check against the model."""
