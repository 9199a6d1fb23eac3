"""Backbones that recipes name, and any other ``nn.Module`` by ``package.module:Class``."""

from gatesearch.backbones.batches import check_batches
from gatesearch.backbones.build import build
from gatesearch.backbones.check import check_network

__all__ = ["build", "check_batches", "check_network"]
