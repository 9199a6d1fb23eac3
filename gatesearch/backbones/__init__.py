"""Backbones: the networks that recipes name and that gates go into.

A recipe can also name any other ``nn.Module`` by ``package.module:Class``.
"""

from gatesearch.backbones.batches import check_batches
from gatesearch.backbones.build import build
from gatesearch.backbones.check import check_network

__all__ = ["build", "check_batches", "check_network"]
