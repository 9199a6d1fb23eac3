"""Backbones that recipes name, and any other ``nn.Module`` by ``package.module:Class``."""

from gatesearch.backbones.build import build

__all__ = ["build"]
