"""Windows of sound without labels, from any recordings: what a codec is trained on.

What folder or class a recording came from is kept for reports; nothing is trained on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from gatesearch.data.recordings import Recording, Recordings, from_archive, from_folder, synthesised
from gatesearch.data.types import Dataset, Split
from gatesearch.data.wav import Progress, Waves, fit_length, resampled
from gatesearch.errors import UserError

PARTS = {"train": 1.0, "validation": 0.25, "test": 0.25}  # of data.windows
HELD_OUT = 0.15  # of the speakers, folds or files, for validation and test each
MOST = 8  # windows of a recording
SILENCE = 1e-3 * 32768  # root mean square of a window that is left out, -60 dB of full scale


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
        root: a folder with WAV files at any depth; an ``.npz`` with ``audio``, ``sample_rate`` and what tells its clips
            apart (see :func:`gatesearch.data.recordings.from_archive`); None for words of a speech synthesiser and
            generated noise.
        sample_rate: of the windows; recordings of another rate are resampled.
        seconds: length of a window.
        windows: how many to train on, at most; a quarter as many to validate and to test.
        seed: of the choice of windows and splits, and of the synthesised set.
        cache_dir: where the synthesised set is kept; None is the user's cache folder.
        progress: called with (done, total) while the set is synthesised.

    Returns:
        int16 windows [N, sample_rate * seconds], all of them positives. Windows below -60 dB are left out.

    Raises:
        UserError: no such file or folder, nothing usable in it, or too little for three splits.
    """
    samples = round(sample_rate * seconds)
    if samples < 1 or windows < 8:
        raise UserError(f"data.windows: {windows} windows of {samples} samples; wanted: 8 or more of 1 or more")
    if root is None:
        found = synthesised(sample_rate, seconds, windows, seed, cache_dir, progress)
    else:
        found = from_folder(Path(root)) if Path(root).is_dir() else from_archive(Path(root))
    splits: dict[str, Split] = {}
    quiet = 0
    for number, (name, share) in enumerate(PARTS.items()):
        own = _of_split(found, name, seed)
        rng = np.random.default_rng([seed, number])
        splits[name], left_out = _windows(own, sample_rate, samples, round(share * windows), rng)
        quiet += left_out
        if not len(splits[name]):
            raise UserError(f"data.root: {root}: the {name} split has no window of {seconds:g} s above -60 dB")
    return Dataset(
        name=found.name,
        source=f"{found.source}; windows of {seconds:g} s at {sample_rate} Hz, {quiet} below -60 dB left out",
        synthetic=root is None,
        classes=tuple(found.classes),
        positive=(True,) * len(found.classes),
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        sample_rate=sample_rate,
    )


def _of_split(found: Recordings, split: str, seed: int) -> list[Recording]:
    """Return the recordings of a split: as the set itself says, else by drawing whole groups."""
    if found.given is not None:
        given = found.given
        return [recording for recording in found.recordings if given(recording) == split]
    groups = sorted({recording.group for recording in found.recordings})
    held = max(1, round(HELD_OUT * len(groups)))
    if len(groups) < 3:
        raise UserError(f"data.root: {found.name}: {len(groups)} {found.grouped}, too few to part into three splits")
    order = [groups[i] for i in np.random.default_rng([seed, 99]).permutation(len(groups))]
    parts = {"test": set(order[:held]), "validation": set(order[held : 2 * held]), "train": set(order[2 * held :])}
    return [recording for recording in found.recordings if recording.group in parts[split]]


def _windows(
    recordings: Sequence[Recording], sample_rate: int, samples: int, most: int, rng: np.random.Generator
) -> tuple[Split, int]:
    inputs: list[Waves] = []
    labels: list[int] = []
    names: list[str] = []
    quiet = 0
    for i in rng.permutation(len(recordings)):
        recording = recordings[i]
        wave = resampled(recording.read(), recording.sample_rate, sample_rate)
        count = max(1, len(wave) // samples)
        for at in sorted(rng.permutation(count)[:MOST].tolist()):
            window = fit_length(wave[at * samples : (at + 1) * samples], samples)
            if np.sqrt(np.mean(window.astype(np.float64) ** 2)) < SILENCE:
                quiet += 1
                continue
            inputs.append(window)
            labels.append(recording.label)
            names.append(f"{recording.name}@{at}")
        if len(inputs) >= most:
            break
    stacked = np.stack(inputs[:most]) if inputs else np.empty((0, samples), np.int16)
    return Split(torch.from_numpy(stacked), torch.tensor(labels[:most], dtype=torch.int64), tuple(names[:most])), quiet
