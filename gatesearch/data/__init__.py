"""Data sets, front ends and augmentation.

>>> from gatesearch.data import MFCC, load_dataset
"""

from __future__ import annotations

from gatesearch.data.augment import SpecAugment, WaveAugment
from gatesearch.data.frontend import MFCC, Identity, LogMel, build, frontend_for, restore
from gatesearch.data.images import ImageAugment, Normalise
from gatesearch.data.registry import dataset_names, load_dataset, shows_progress
from gatesearch.data.types import Dataset, Split, to_float

__all__ = [
    "MFCC",
    "Dataset",
    "Identity",
    "ImageAugment",
    "LogMel",
    "Normalise",
    "SpecAugment",
    "Split",
    "WaveAugment",
    "build",
    "dataset_names",
    "frontend_for",
    "load_dataset",
    "restore",
    "shows_progress",
    "to_float",
]
