"""Turns a model into a bundle of files with a manifest, and checks the bundle against the model."""
