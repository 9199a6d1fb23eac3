"""Checks a data set once, before any training, with errors of one line.

:func:`gatesearch.data.load_dataset` checks the data of loaders and plug-ins. ``gatesearch.run`` checks the data of a
calling program. An error refuses data that would give a wrong figure, and names the split and the sample. A warning
tells of data that may be right but look doubtful; see :mod:`gatesearch.data.dataset_doubts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from typing import Any

import torch

from gatesearch._lib import console
from gatesearch.data.dataset_doubts import is_sound, list_doubts
from gatesearch.data.split_scan import SplitScan, scan_split
from gatesearch.data.types import SPLITS, Dataset
from gatesearch.errors import DataError

LARGEST_INPUT = 1e15  # the sum of squares of larger values does not fit float32
INT16_PEAK = 256.0  # float sound beyond this peak has the scale of int16, not a full scale of 1
LARGEST_SCALE_RATIO = 100.0  # ratio of the standard deviations of two splits; values 0..1 and 0..255 differ by more


def check_dataset(data: Any, *, warns: bool = True) -> Dataset:
    """Return the data set if a network can learn from it; print a warning for each doubt.

    Args:
        data: the data set that a loader returned or a program passed.
        warns: whether to print doubts; False if the same data are checked again.

    Raises:
        DataError: the value is no data set, or the data set would give wrong figures.

    >>> from gatesearch.data import Split
    >>> inputs = torch.tensor([[0.0, 1.0], [1.0, float("nan")]])
    >>> split = Split(inputs, torch.tensor([0, 1]), ("a.wav", "b.wav"))
    >>> check_dataset(Dataset("toy", "made here", True, ("wake", "other"), (True, False), split, split, split))
    Traceback (most recent call last):
    ...
    gatesearch.errors.DataError: data 'toy': train split, sample 1 ('b.wav') holds nan at [1]; fix it or leave it out
    """
    if not isinstance(data, Dataset):
        raise DataError(f"data is a {type(data).__name__}, not a gatesearch.data.Dataset")
    _check_shapes(data)
    _check_kinds(data)
    scans = {name: scan_split(getattr(data, name)) for name in SPLITS}
    _check_values(data, scans)
    _check_scale(data, scans)
    _check_overlap(data, scans)
    _check_noise(data)
    for doubt in list_doubts(data, scans) if warns else ():
        console.warn(doubt)
    return data


def _check_shapes(data: Dataset) -> None:
    """Refuse an empty split, and splits that differ in shape or type."""
    for name in SPLITS:
        split, train = getattr(data, name), data.train
        if not len(split):
            raise DataError(f"data {data.name!r}: the {name} split is empty; wanted: samples in all three splits")
        if name == "train" and len(split) == 1:
            raise DataError(f"data {data.name!r}: the train split has 1 sample; wanted: 2 or more to learn from")
        if split.inputs.shape[1:] != train.inputs.shape[1:]:
            shapes = f"{list(split.inputs.shape[1:])}, those of the train split {list(train.inputs.shape[1:])}"
            raise DataError(f"data {data.name!r}: splits differ in shape: samples of the {name} split are {shapes}")
        if split.inputs.dtype != train.inputs.dtype:
            types = f"{split.inputs.dtype}, the train split {train.inputs.dtype}".replace("torch.", "")
            raise DataError(
                f"data {data.name!r}: splits differ in type: the {name} split is {types}; integers are divided by "
                "their full scale, floats are not"
            )


def _check_kinds(data: Dataset) -> None:
    """Refuse a split without positives, and a validation or test split without samples of each negative class.

    A scene may lack a kind of background: figures of that kind are then missing, and a doubt says so.
    """
    if not any(data.positive):
        raise DataError(f"data {data.name!r}: no class is a positive: nothing would ever be reported")
    for name in SPLITS:
        split = getattr(data, name)
        present = set(data.kinds(split.labels).tolist())
        # The training split may lack a negative kind. The other splits may not, because a figure of a kind needs
        # samples of it.
        needed = data.kind_names[:1] if name == "train" or data.has_drawn_windows else data.kind_names
        for index, kind in enumerate(needed):
            if index not in present:
                what = "positive" if index == 0 else f"sample of class {kind!r}"
                raise DataError(f"data {data.name!r}: the {name} split has no {what}; add some, or take the class out")


def _check_values(data: Dataset, scans: Mapping[str, SplitScan]) -> None:
    """Refuse values that are not finite, too large, or in a wrong scale for sound."""
    for name, scan in scans.items():
        split = getattr(data, name)
        for index in (~scan.finite).nonzero().flatten().tolist()[:1]:
            value = split.inputs[index]
            position = (~value.isfinite()).nonzero()[0].tolist()
            wrong = f"{float(value[tuple(position)])} at {position}"
            raise DataError(f"{_sample(data, name, index)} holds {wrong}; fix it or leave it out")
        peak, index = float(scan.peak.max()), int(scan.peak.argmax())
        if peak > LARGEST_INPUT:
            raise DataError(f"{_sample(data, name, index)} reaches {peak:g}; wanted: values up to {LARGEST_INPUT:g}")
        if not is_sound(data):
            continue
        if split.inputs.is_floating_point() and peak > INT16_PEAK:
            raise DataError(
                f"{_sample(data, name, index)} reaches {peak:g}, as sound in int16 does; wanted: inputs / 32768, "
                "or int16"
            )
        if split.inputs.dtype == torch.uint8:
            raise DataError(
                f"data {data.name!r}: the {name} split is sound in uint8, where 128 is silence; wanted: int16, such as "
                "(inputs.short() - 128) * 256"
            )


def _check_scale(data: Dataset, scans: Mapping[str, SplitScan]) -> None:
    """Refuse splits that differ in scale, such as images from 0 to 1 in one split and from 0 to 255 in another."""
    reference = scans["train"].std
    for name in SPLITS[1:]:
        std = scans[name].std
        if std and reference and not 1 / LARGEST_SCALE_RATIO < std / reference < LARGEST_SCALE_RATIO:
            raise DataError(
                f"data {data.name!r}: values of the {name} split spread by {std:.3g}, those of the train split by "
                f"{reference:.3g}; wanted: all splits in one unit"
            )


def _check_overlap(data: Dataset, scans: Mapping[str, SplitScan]) -> None:
    """Refuse a split whose samples are all in another split: its figures would say nothing about new samples."""
    for first, second in permutations(SPLITS, 2):
        own, others = scans[first].first_indices(), scans[second].first_indices()
        if own and own.keys() <= others.keys():
            raise DataError(
                f"data {data.name!r}: every sample of the {first} split is in the {second} split, too; wanted: splits "
                "that share no sample"
            )


def _check_noise(data: Dataset) -> None:
    """Refuse background noise that is too short for a clip or not finite."""
    if data.noise is None:
        return
    samples, needed = data.noise.shape[-1], data.train.inputs.shape[-1]
    if data.noise.ndim != 2 or samples < needed:
        shape = list(data.noise.shape)
        raise DataError(f"data {data.name!r}: noise {shape} is shorter than a clip; wanted: [M, {needed} or more]")
    if not bool(data.noise.isfinite().all()):
        raise DataError(f"data {data.name!r}: noise is not finite; fix it or leave it out")


def _sample(data: Dataset, split: str, index: int) -> str:
    return f"data {data.name!r}: {split} split, sample {index} ({getattr(data, split).names[index]!r})"
