"""Loads data sets of spoken words: recordings of a folder, or synthetic speech without a folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from gatesearch._lib import console
from gatesearch.data import folders, wav
from gatesearch.data.background import Background
from gatesearch.data.split_lists import SPLIT_LISTS
from gatesearch.data.types import SPLITS, Dataset, Split
from gatesearch.data.wav import Progress
from gatesearch.errors import UserError

MAX_NEGATIVE_RATIO = 2.0  # clips of a negative class of several folders, per clip of the mean positive class

Files = list[tuple[str, int]]  # "<folder>/<file>", label


def load(
    root: str | None,
    positives: Sequence[str],
    negatives: Mapping[str, Sequence[str]],
    seed: int,
    clips_per_class: int,
    sample_rate: int = 16000,
    seconds: float = 1.0,
    skip_bad_files: bool = False,
    cache_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Load clips of the words that the device wakes for (positives) and of everything else (negatives).

    There are three sources. ``root=None`` synthesises speech. A folder with ``validation_list.txt`` and
    ``testing_list.txt`` is read as Speech Commands. Any other folder with ``<class>/<clip>.wav`` is split 80/10/10 by
    speaker (``<speaker>_nohash_<n>.wav``) or by file. Long files in ``_background_noise_`` are cut into clips; each
    split takes its own stretch of each file.

    Args:
        root: the folder, or None.
        positives: folders (words) of the positive classes, one for each class.
        negatives: for each negative class, its folders (words); ``"*"`` means every folder that no class names. A class
            of several folders loses random clips, in each split, until it has at most twice as many as the mean
            positive class.
        seed: the seed of every random choice.
        clips_per_class: size of the synthetic classes, all splits together.
        sample_rate: samples per second of the clips; files with a higher rate are resampled.
        seconds: length of a clip; files are cropped or padded at both ends.
        skip_bad_files: whether to leave unusable files out and to say so in ``source``, instead of raising an error.
        cache_dir: folder of the synthetic set; None for the user's cache folder.
        progress: called with (done, total) as files are read or synthesised.

    Returns:
        A data set of int16 waveforms [N, sample_rate * seconds]. Its ``noise`` holds background clips of the same
        length, from the training split.

    Raises:
        UserError: a name, a folder or a file cannot be used.
    """
    folders.check_names(positives, negatives)
    samples = round(sample_rate * seconds)
    if samples < 1:
        raise UserError(f"data.seconds: {seconds!r} at {sample_rate} Hz is less than one sample")
    if root is None:
        from gatesearch.data.synthetic import load as synthesise  # scipy.signal is slow to import

        return synthesise(positives, negatives, seed, clips_per_class, sample_rate, seconds, cache_dir, progress)
    tree = folders.scan(root)
    classes = folders.assign(tree, positives, negatives)
    files, reductions = _select(tree, classes, len(positives), np.random.default_rng([seed, 0]))
    background_label = next((i for i, own in enumerate(classes.values()) if folders.LONG_BACKGROUND in own), None)
    long_files = tree.files[folders.LONG_BACKGROUND] if background_label is not None else {}
    long_paths = list(long_files.values())
    background = Background.read(long_paths, sample_rate, samples, skip_bad_files)

    total = sum(map(len, files.values()))
    splits, noise, bad, done = {}, [], list(background.problems), 0
    remarks = list(tree.remarks)
    for number, split in enumerate(SPLITS):
        split_files = files[split]
        paths = [tree.path(name) for name, _ in split_files]
        step = (lambda n, _, before=done: progress(before + n, total)) if progress else None
        clips = wav.read_clips(paths, sample_rate, samples, skip_bad_files, step)
        waves, indices, done, bad = clips.waves, clips.indices, done + len(paths), bad + clips.problems
        remarks += [f"{split} split: {remark}" for remark in clips.remarks]
        names, labels = [split_files[i][0] for i in indices], [split_files[i][1] for i in indices]
        if split == "train":
            noise = [waves[[name.startswith(folders.BACKGROUND_FOLDERS) for name in names]], background.blocks(split)]
        if background_label is not None and long_paths:
            missing = _mean_positive(Counter(labels), len(positives)) - labels.count(background_label)
            crops, crop_names = background.crops(split, missing, np.random.default_rng([seed, 1, number]))
            waves, names = np.concatenate([waves, crops]), names + crop_names
            labels += [background_label] * len(crops)
        _check_classes(tree, split, classes, labels)
        splits[split] = Split(torch.from_numpy(waves), torch.tensor(labels, dtype=torch.int64), tuple(names))
    background_clips = np.concatenate(noise)
    for remark in (*remarks, *_count_bad(bad)):
        console.warn(f"data.root: {tree.root}: {remark}")
    return Dataset(
        name=tree.root.resolve().name,
        source=_source(tree, reductions, bad),
        synthetic=False,
        classes=tuple(classes),
        positive=tuple(name in positives for name in classes),
        noise=torch.from_numpy(background_clips) if len(background_clips) else None,
        sample_rate=sample_rate,
        **splits,
    )


def _select(
    tree: folders.Tree, classes: Mapping[str, list[str]], positives: int, rng: np.random.Generator
) -> tuple[dict[str, Files], list[str]]:
    """Return the files of every split, and a remark for each negative class that loses clips."""
    files: dict[str, Files] = {split: [] for split in SPLITS}
    for label, own_folders in enumerate(classes.values()):
        for folder in own_folders:
            for file in tree.files[folder] if folder != folders.LONG_BACKGROUND else ():
                files[tree.split_of(folder, file)].append((f"{folder}/{file}", label))
    reductions = []
    for label, (name, own_folders) in enumerate(classes.items()):
        if len(own_folders) == 1 or label < positives:
            continue
        before = after = 0
        for split, split_files in files.items():
            labels = [file_label for _, file_label in split_files]
            own = [index for index, file_label in enumerate(labels) if file_label == label]
            max_clips = int(MAX_NEGATIVE_RATIO * _mean_positive(Counter(labels), positives))
            drop = set(rng.permutation(own)[max_clips:].tolist()) if len(own) > max_clips else set()
            before, after = before + len(own), after + len(own) - len(drop)
            files[split] = [file for index, file in enumerate(split_files) if index not in drop]
        if after < before:
            reductions.append(f"{name} reduced from {before} to {after} clips")
    return files, reductions


def _mean_positive(counts: Counter[int], positives: int) -> int:
    return max(1, round(sum(counts[label] for label in range(positives)) / positives))


def _check_classes(tree: folders.Tree, split: str, classes: Mapping[str, list[str]], labels: list[int]) -> None:
    present = set(labels)
    for label, (name, own_folders) in enumerate(classes.items()):
        if label not in present:
            paths = ", ".join(str(tree.root / folder) for folder in own_folders[:3])
            paths += ", ..." if len(own_folders) > 3 else ""
            advice = "add clips" if tree.listed is None else f"list some in {_list_of(split)}"
            raise UserError(f"data.root: the {split} split has no clip of class {name!r} ({paths}); {advice}")


def _list_of(split: str) -> str:
    return next((name for name, list_split in SPLIT_LISTS.items() if list_split == split), "neither list")


def _source(tree: folders.Tree, reductions: list[str], bad: list[str]) -> str:
    rule = "its own lists" if tree.listed is not None else "hash of speaker or file, 80/10/10"
    parts = [f"WAV files in {tree.root.resolve().name}, split by {rule}", *reductions]
    return "; ".join([*parts, *_count_bad(bad)])


def _count_bad(bad: list[str]) -> list[str]:
    return [f"{len(bad)} unusable file{'s' if len(bad) > 1 else ''} left out, first: {bad[0]}"] if bad else []
