"""Lists doubts about a data set, such as silent clips and repeated samples, which are often mistakes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import torch
from torch import Tensor

from gatesearch.data.folders import BACKGROUND_FOLDERS
from gatesearch.data.split_scan import SplitScan
from gatesearch.data.types import SPLITS, Dataset, Split

SMALL_UINT8_PEAK = 3  # of 255; images with a lower peak were probably scaled to 0..1 before they became uint8
CHANNEL_COUNTS = (1, 3, 4)


def list_doubts(data: Dataset, scans: Mapping[str, SplitScan]) -> list[str]:
    """Return one line for each doubt, with the number of samples that it concerns and the first of them."""
    lines = [*_list_absent_classes(data), *_check_layout(data, scans)]
    for name in SPLITS:
        split, scan = getattr(data, name), scans[name]
        lines += _list_constant_samples(data, split, scan, name)
        if is_sound(data):
            lines += _list_loud_samples(split, scan, name)
        lines += _list_repeated_names(split, name)
    lines += _list_equal_samples(data, scans)
    return [f"data {data.name!r}: {line}" for line in lines]


def is_sound(data: Dataset) -> bool:
    """Return whether samples are waveforms of one channel: there is a sample rate, and time is the only dimension."""
    return data.sample_rate is not None and data.train.inputs.flatten(1).shape[1] == data.train.inputs.shape[-1]


def _list_absent_classes(data: Dataset) -> Iterator[str]:
    for name in SPLITS:
        present = set(getattr(data, name).labels.tolist())
        absent = [class_name for label, class_name in enumerate(data.classes) if label not in present]
        if absent:
            yield f"the {name} split has no sample of {_enumerate(absent)}"


def _check_layout(data: Dataset, scans: Mapping[str, SplitScan]) -> Iterator[str]:
    inputs = data.train.inputs
    if inputs.dtype == torch.uint8 and 0 < float(scans["train"].peak.max()) <= SMALL_UINT8_PEAK:
        highest = int(scans["train"].peak.max())
        yield f"inputs are uint8 but reach {highest} of 255, and are divided by 256; float inputs stay as they are"
    if inputs.ndim == 4 and inputs.shape[3] in CHANNEL_COUNTS and inputs.shape[1] not in (*CHANNEL_COUNTS, 2):
        yield f"samples {list(inputs.shape[1:])} look like [height, width, channels]; layers read [channels, ...]"
    if data.noise is not None and data.sample_rate is None:
        yield "noise is added to sound alone, and there is no sample_rate"


def _list_constant_samples(data: Dataset, split: Split, scan: SplitScan, name: str) -> Iterator[str]:
    """Yield a line for each class with constant samples, except classes of silence, which may have such samples."""
    if split.inputs[0].numel() < 2:
        return
    for label, class_name in enumerate(data.classes):
        own = split.labels == label
        if class_name not in BACKGROUND_FOLDERS:
            of_class = f"of {int(own.sum())} samples of {class_name!r} in the {name} split"
            yield from _describe(own & scan.constant, split, of_class, "constant")


def _list_loud_samples(split: Split, scan: SplitScan, name: str) -> Iterator[str]:
    of_all = f"of {len(split)} samples of the {name} split"
    if split.inputs.is_floating_point():
        yield from _describe(scan.peak > 1.0, split, of_all, "beyond full scale, where augmentation clips them")
    else:
        yield from _describe(scan.clipped & ~scan.constant, split, of_all, "clipped at full scale")


def _list_repeated_names(split: Split, name: str) -> Iterator[str]:
    repeated = [text for text, count in Counter(split.names).items() if count > 1]
    if repeated:
        yield f"{len(repeated)} names of the {name} split are given more than once, first: {repeated[0]!r}"


def _list_equal_samples(data: Dataset, scans: Mapping[str, SplitScan]) -> Iterator[str]:
    """Yield lines on equal samples: in two splits, within one split, and with two labels."""
    places = {name: scans[name].first_indices() for name in SPLITS}
    for first, second in combinations(SPLITS, 2):
        common = [digest for digest in places[second] if digest in places[first]]
        if common:
            pair = _name_pair(data, (first, places[first][common[0]]), (second, places[second][common[0]]))
            yield f"{len(common)} samples of the {second} split are in the {first} split, too, first: {pair}"
    labels: dict[bytes, tuple[str, int]] = {}
    for name in SPLITS:
        twice = sum(not constant for constant in scans[name].constant.tolist()) - len(places[name])
        if twice and not data.has_drawn_windows:
            yield f"{twice} samples of the {name} split repeat another one of it"
        split_labels = getattr(data, name).labels.tolist()
        for index, digest in enumerate(scans[name].digests):
            other, other_index = labels.setdefault(digest, (name, index))
            if getattr(data, other).labels[other_index] != split_labels[index] and not scans[name].constant[index]:
                yield f"equal samples have two labels: {_name_pair(data, (other, other_index), (name, index))}"
                return


def _describe(flags: Tensor, split: Split, of_all: str, what: str) -> Iterator[str]:
    """Yield a line that counts the flagged samples and names the first, if there is one."""
    indices = flags.nonzero().flatten().tolist()
    if indices:
        verb = "is" if len(indices) == 1 else "are"
        yield f"{len(indices)} {of_all} {verb} {what}, first: sample {indices[0]} ({split.names[indices[0]]!r})"


def _name_pair(data: Dataset, first: tuple[str, int], second: tuple[str, int]) -> str:
    return " and ".join(f"{getattr(data, split).names[index]!r} ({split} {index})" for split, index in (first, second))


def _enumerate(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} classes more" if len(names) > 3 else "")
