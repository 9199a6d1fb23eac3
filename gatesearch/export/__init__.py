"""Turns a model into a bundle of files with a manifest, and checks it against the model."""
