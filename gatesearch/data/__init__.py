"""Data sets and their augmentation: the types, the loader by name, and the checks before a training.

>>> from gatesearch.data import WaveAugment, load_dataset
"""

from __future__ import annotations

from gatesearch.data.augment import ImageAugment, SpecAugment, WaveAugment
from gatesearch.data.dataset_checks import check_dataset
from gatesearch.data.registry import dataset_names, load_dataset, takes_argument
from gatesearch.data.stream_dataset import StreamDataset
from gatesearch.data.types import Dataset, Split

__all__ = [
    "Dataset",
    "ImageAugment",
    "SpecAugment",
    "Split",
    "StreamDataset",
    "WaveAugment",
    "check_dataset",
    "dataset_names",
    "load_dataset",
    "takes_argument",
]
