"""Loads windows of sound from any recordings, to train a codec (an encoder and decoder) on.

The labels are the folders or classes of the recordings. Reports list them; no training uses them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from gatesearch.data.recordings import Recording, Recordings, from_archive, from_folder, synthesise
from gatesearch.data.types import Dataset, Split
from gatesearch.data.wav import Progress
from gatesearch.data.waveforms import INT16_FULL_SCALE, Int16Waveform, fit_length, resample
from gatesearch.errors import UserError

SPLIT_SHARES = {"train": 1.0, "validation": 0.25, "test": 0.25}  # windows of each split, as a share of data.windows
HELD_OUT_SHARE = 0.15  # share of the speakers, folds or files that validation and test get each
WINDOWS_PER_RECORDING = 8  # largest number of windows from one recording
SILENCE_RMS = 1e-3 * INT16_FULL_SCALE  # windows with a lower root mean square (-60 dB of full scale) are left out


def load(
    root: str | None = None,
    sample_rate: int = 8000,
    seconds: float = 0.512,
    windows: int = 2000,
    seed: int = 0,
    cache_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Cut windows out of recordings; no speaker, fold or file is in two splits.

    Args:
        root: a folder with WAV files at any depth; or an ``.npz`` of clips, as
            :func:`gatesearch.data.recordings.from_archive` describes; None for words of a speech synthesiser and
            generated noise.
        sample_rate: the sample rate of the windows; recordings of another rate are resampled.
        seconds: length of a window.
        windows: largest number of windows to train on; validation and test get a quarter as many each.
        seed: the seed of the choice of windows and splits, and of the synthesised set.
        cache_dir: folder of the synthesised set; None for the user's cache folder.
        progress: called with (done, total) while the set is synthesised.

    Returns:
        A data set of int16 windows [N, sample_rate * seconds], all of them positives. Windows below -60 dB of full
        scale are left out.

    Raises:
        UserError: the file or folder does not exist, holds nothing usable, or holds too little for three splits.
    """
    samples = round(sample_rate * seconds)
    if samples < 1 or windows < 8:
        raise UserError(f"data.windows: {windows} windows of {samples} samples; wanted: 8 or more of 1 or more")
    if root is None:
        recordings = synthesise(sample_rate, seconds, windows, seed, cache_dir, progress)
    else:
        recordings = from_folder(Path(root)) if Path(root).is_dir() else from_archive(Path(root))
    splits: dict[str, Split] = {}
    total_silent = 0
    for number, (name, share) in enumerate(SPLIT_SHARES.items()):
        own = _draw_split(recordings, name, seed)
        rng = np.random.default_rng([seed, number])
        splits[name], silent = _cut_windows(own, sample_rate, samples, round(share * windows), rng)
        total_silent += silent
        if not len(splits[name]):
            raise UserError(f"data.root: {root}: the {name} split has no window of {seconds:g} s above -60 dB")
    cut = f"windows of {seconds:g} s at {sample_rate} Hz, {total_silent} below -60 dB left out"
    return Dataset(
        name=recordings.name,
        source=f"{recordings.source}; {cut}",
        synthetic=root is None,
        classes=tuple(recordings.classes),
        positive=(True,) * len(recordings.classes),
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        sample_rate=sample_rate,
    )


def _draw_split(recordings: Recordings, split: str, seed: int) -> list[Recording]:
    """Return the recordings of a split: by the set's own splits, or else from groups that are drawn at random.

    Raises:
        UserError: there are too few groups.
    """
    if recordings.split_of is not None:
        split_of = recordings.split_of
        return [recording for recording in recordings.recordings if split_of(recording) == split]
    groups = sorted({recording.group for recording in recordings.recordings})
    if len(groups) < 3:
        count = f"{len(groups)} {recordings.group_noun}"
        raise UserError(f"data.root: {recordings.name}: {count}, too few for three splits")
    held_out = max(1, round(HELD_OUT_SHARE * len(groups)))
    order = [groups[i] for i in np.random.default_rng([seed, 99]).permutation(len(groups))]
    groups_of = {
        "test": set(order[:held_out]),
        "validation": set(order[held_out : 2 * held_out]),
        "train": set(order[2 * held_out :]),
    }
    return [recording for recording in recordings.recordings if recording.group in groups_of[split]]


def _cut_windows(
    recordings: Sequence[Recording], sample_rate: int, samples: int, most: int, rng: np.random.Generator
) -> tuple[Split, int]:
    """Return up to ``most`` windows of recordings in random order, and how many were skipped as silent."""
    inputs: list[Int16Waveform] = []
    labels: list[int] = []
    names: list[str] = []
    silent = 0
    for index in rng.permutation(len(recordings)):
        recording = recordings[index]
        wave = resample(recording.read(), recording.sample_rate, sample_rate)
        count = max(1, len(wave) // samples)
        for position in sorted(rng.permutation(count)[:WINDOWS_PER_RECORDING].tolist()):
            window = fit_length(wave[position * samples : (position + 1) * samples], samples)
            if np.sqrt(np.mean(window.astype(np.float64) ** 2)) < SILENCE_RMS:
                silent += 1
                continue
            inputs.append(window)
            labels.append(recording.label)
            names.append(f"{recording.name}@{position}")
        if len(inputs) >= most:
            break
    stacked = np.stack(inputs[:most]) if inputs else np.empty((0, samples), np.int16)
    label_tensor = torch.tensor(labels[:most], dtype=torch.int64)
    return Split(torch.from_numpy(stacked), label_tensor, tuple(names[:most])), silent
